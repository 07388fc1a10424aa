from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from builders import history, linear, norm, only, record
from hypothesis import given, strategies as st
from models import Classifier, fit, loader, mlp
from torch import nn

import init_monitor
from init_monitor import InitMonitor
from init_monitor.records import INPUT, Finding, History, Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import InputScale, UpdateRatio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Layer, StepRecord

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL

FIRST = linear(0, "net.0", activation="ReLU", inputs=(INPUT,))
SECOND = linear(1, "net.1", inputs=("net.0",))
PLAIN = Structure((FIRST, SECOND))
RULE = InputScale()


def received(
    mean: float, std: float, peak: float | None = None, *, layers: Sequence[Layer] = PLAIN.layers, **fields: Any
) -> StepRecord:
    return record(
        Structure(tuple(layers)),
        {
            Quantity.INPUT_MEAN: mean,
            Quantity.INPUT_VARIANCE: std**2,
            Quantity.INPUT_MEAN_SQUARE: mean**2 + std**2,
            Quantity.INPUT_ABS_MAX: abs(mean) + 3 * std if peak is None else peak,
        },
        **fields,
    )


def judged(*records: StepRecord, layers: Sequence[Layer] = PLAIN.layers) -> list[Finding]:
    return list(RULE.judge(History(records, Structure(tuple(layers)))))


@pytest.mark.parametrize(
    ("mean", "std", "peak"),
    [
        (0.0, 1.0, 4.0),  # standardised
        (0.13, 0.31, 1.0),  # MNIST in [0, 1]
        (0.87, 0.31, 1.0),  # the same, black on white
        (-0.74, 0.62, 1.0),  # MNIST in [-1, 1]
        (4.88, 6.02, 16.0),  # digits of 0 … 16
        (2e-5, 4.5e-3, 1.0),  # one-hot over 50,000 words
        (0.0, 0.02, 0.4),  # a quiet sound
    ],
)
def test_what_people_train_on_is_healthy(mean: float, std: float, peak: float) -> None:
    assert judged(received(mean, std, peak)) == []


@pytest.mark.parametrize(
    ("mean", "std", "words"),
    [
        (33.3, 78.6, "too large"),
        (0.0, 1e3, "too large"),
        (0.0, 1e-2, "too small"),
        (100.0, 1.0, "far from centred"),
        (-40.0, 2.0, "far from centred"),
    ],
)
def test_what_is_far_from_standardised_is_named_with_its_numbers(mean: float, std: float, words: str) -> None:
    finding = only(judged(received(mean, std)))
    assert (finding.code, finding.rule, finding.severity) == ("IM701", "input-scale", WARNING)
    assert finding.layers == ("net.0",)
    assert f"The input of net.0 is {words}" in finding.message
    assert finding.evidence["input_mean"] == mean
    assert finding.evidence["input_std"] == pytest.approx(std)
    assert [float(finding.expected[name]) for name in ("input_mean", "input_std")] == [0, 1]


@pytest.mark.parametrize(("rms", "fires"), [(29.9, False), (30.1, True), (0.0301, False), (0.0299, True)])
def test_the_rms_decides_at_its_bounds(rms: float, *, fires: bool) -> None:
    assert bool(judged(received(0.0, rms))) is fires


@pytest.mark.parametrize(("mean", "fires"), [(4.99, False), (5.01, True), (-5.01, True)])
def test_the_mean_over_the_standard_deviation_decides_at_its_bound(mean: float, *, fires: bool) -> None:
    assert bool(judged(received(mean, 1.0))) is fires


@pytest.mark.parametrize(("peak", "fires"), [(0.19, True), (0.21, False)])
def test_a_small_input_with_elements_that_stand_out_is_sparse_and_not_small(peak: float, *, fires: bool) -> None:
    assert bool(judged(received(0.0, 0.01, peak))) is fires


@pytest.mark.parametrize(
    ("rms", "optimizer", "severity"),
    [
        (999.0, "SGD", WARNING),
        (1001.0, "SGD", CRITICAL),
        (1001.0, "AdamW", WARNING),
        (1001.0, "", WARNING),
        (1.1e5, "AdamW", CRITICAL),
        (1.1e-3, "SGD", WARNING),
        (0.9e-3, "SGD", CRITICAL),
        (0.9e-3, "Adam", CRITICAL),
    ],
)
def test_the_severity_is_by_what_the_optimizer_makes_of_it(rms: float, optimizer: str, severity: Severity) -> None:
    assert only(judged(received(0.0, rms, optimizer=optimizer))).severity is severity


def test_under_adam_the_reach_of_one_step_is_told() -> None:
    # 1e-3 · 512 inputs · 100 = 51.2
    message = only(judged(received(0.0, 100.0, optimizer="Adam", learning_rate=1e-3))).message
    assert "One step of Adam at a rate of 0.001" in message
    assert "51.2" in message
    assert "mean square of the input: 10,000 times" in only(judged(received(0.0, 100.0, optimizer="SGD"))).message


@pytest.mark.parametrize(
    ("kind", "mean", "std", "severity"),
    [
        ("BatchNorm1d", 0.0, 100.0, INFO),
        ("BatchNorm1d", 100.0, 1.0, INFO),
        ("BatchNorm1d", 0.0, 0.01, INFO),
        ("LayerNorm", 0.0, 100.0, INFO),
        ("LayerNorm", 100.0, 1.0, WARNING),
        ("LayerNorm", 0.0, 0.01, WARNING),
        ("LayerNorm", 0.0, 1e-4, WARNING),
    ],
)
def test_a_normalisation_behind_takes_out_what_it_can(kind: str, mean: float, std: float, severity: Severity) -> None:
    layers = (replace(FIRST, normalised=True), norm(1, "net.1", kind=kind, inputs=("net.0",)))
    finding = only(judged(received(mean, std, layers=layers), layers=layers))
    assert finding.severity is severity
    assert bool(finding.remedy_code) is (severity is not INFO)


def test_only_layers_that_take_the_input_are_judged() -> None:
    inner = (replace(FIRST, inputs=()), SECOND)
    assert judged(received(0.0, 1e4, layers=inner), layers=inner) == []


@pytest.mark.parametrize(("mean", "std"), [(math.nan, math.nan), (7.0, 0.0)])
def test_indices_and_constants_have_no_scale(mean: float, std: float) -> None:
    assert judged(received(mean, std)) == []


def test_one_odd_batch_is_no_scale() -> None:
    usual, odd = received(0.0, 1.0), received(0.0, 100.0)
    assert judged(usual, usual, odd) == []
    assert judged(odd, odd, odd) != []


def test_a_layer_with_several_outputs_is_named_once_and_several_inputs_each() -> None:
    cell = [replace(linear(i, "rnn", inputs=(INPUT,)), name=f"rnn[{i}]") for i in range(2)]
    layers = (*cell, replace(FIRST, depth=2))
    finding = only(judged(received(0.0, 100.0, layers=layers), layers=layers))
    assert finding.layers == ("rnn[0]", "net.0")
    assert finding.remedy_code.count("register_forward_pre_hook") == 2


def test_the_code_standardises_the_input_of_the_very_model() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(16, 4)), 80 * torch.randn(256, 16) - 300
    finding = only(f for f in init_monitor.check(model, x).findings if f.code == "IM701")
    assert f"/ {float(x.std(correction=0)):.4g}" in finding.remedy_code
    assert f"x = (x + {-float(x.mean()):.4g})" in finding.remedy_code
    exec(compile(finding.remedy_code, "remedy", "exec"), {"model": model})  # noqa: S102
    seen: list[torch.Tensor] = []
    model[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(x)
    assert float(seen[0].mean()) == pytest.approx(0, abs=0.01)
    assert float(seen[0].std()) == pytest.approx(1, abs=0.01)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.floats(0.5, 2.0))
def test_the_sign_of_the_mean_never_matters(mean: float, std: float, peak: float) -> None:
    one, other = (judged(received(sign * mean, std, peak * (abs(mean) + std))) for sign in (1, -1))
    assert [f.severity for f in one] == [f.severity for f in other]


def test_every_finding_is_complete() -> None:
    finding = only(judged(received(0.0, 100.0)))
    assert "LeCun" in finding.source
    assert set(finding.expected) <= set(finding.evidence)
    compile(finding.remedy_code, "remedy", "exec")


@pytest.mark.parametrize(("factor", "flagged"), [(1.0, False), (100.0, True), (1e-2, True)])
def test_in_a_training_raw_data_is_flagged_and_its_standardised_twin_is_not(factor: float, *, flagged: bool) -> None:
    class Scaled(Classifier):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x * factor)

    torch.manual_seed(0)
    monitor = InitMonitor(rules=(RULE,), sinks=(), strict=True)
    fit(Scaled(mlp(2, 16, nn.init.kaiming_normal_), lr=1e-6), loader(16), monitor, steps=6)
    assert [(f.code, f.layers) for f in monitor.findings] == ([("IM701", ("net.0",))] if flagged else [])


def test_an_embedding_and_what_follows_a_normalisation_are_not_judged() -> None:
    torch.manual_seed(0)
    words = nn.Sequential(nn.Embedding(50, 8), nn.Flatten(), nn.Linear(32, 4))
    assert init_monitor.check(words, torch.randint(0, 50, (16, 4)), rules=(RULE,)).findings == ()
    normed = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 4))
    assert init_monitor.check(normed, 1e4 * torch.randn(16, 8), rules=(RULE,)).findings == ()


def test_a_record_without_the_layer_says_nothing() -> None:
    assert list(RULE.judge(history(Structure(()), {}))) == []
    known = History([record(Structure(()), {})], PLAIN)
    assert list(RULE.judge(known)) == []


def test_the_calls_of_a_shared_layer_are_judged_together() -> None:
    """A time index of 0 … 1 before the present, and one far from 0 behind it: of one layer, and centred as a whole."""
    torch.manual_seed(0)

    class Forecaster(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Linear(1, 8), nn.Linear(8, 1)

        def forward(self, past: torch.Tensor, future: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.head(torch.tanh(self.embed(past)).mean(0) + torch.tanh(self.embed(future)))
            return output

    def found(past: torch.Tensor, future: torch.Tensor) -> list[Finding]:
        model = Forecaster()
        with init_monitor.watch(model, sinks=(), rules=(RULE,)) as monitor:
            for _ in range(4):
                with monitor.step():
                    model(past, future).sum().backward()
        assert {one.name for one in monitor.structure.calls_of(monitor.structure.layers[0])} == {"embed#1", "embed#2"}
        return monitor.findings

    past, future = torch.linspace(-1, 1, 64).unsqueeze(1), torch.linspace(0.9, 1.1, 16).unsqueeze(1)
    assert found(past, future) == []
    assert only(found(past + 20, future + 20)).layers == ("embed#1",)


def calls(*rows: tuple[float, float], given: Sequence[bool]) -> History:
    """Calls of one layer, each with the mean and the standard deviation of what it gets, of the network's input or not."""
    layers = tuple(
        replace(FIRST, name=f"net.0#{i + 1}", depth=i, inputs=(INPUT,) if whole else ("other",))
        for i, whole in enumerate(given)
    )
    means, stds = (np.array(column) for column in zip(*rows, strict=True))
    columns = {
        Quantity.COUNT: 100.0,
        Quantity.INPUT_MEAN: means,
        Quantity.INPUT_VARIANCE: stds**2,
        Quantity.INPUT_MEAN_SQUARE: means**2 + stds**2,
        Quantity.INPUT_ABS_MAX: abs(means) + 3 * stds,
    }
    return history(Structure(layers), columns)


def test_no_hook_is_advised_where_it_would_change_what_another_call_gets() -> None:
    finding = only(RULE.judge(calls((0.0, 100.0), (0.0, 100.0), given=(True, False))))
    assert "register_forward_pre_hook" not in finding.remedy
    assert "in the data" in finding.remedy


def test_an_input_that_saturates_what_follows_is_critical_and_the_only_panel() -> None:
    net = nn.Sequential(nn.Linear(30, 32), nn.Tanh(), nn.Linear(32, 10))

    class Raw(Classifier):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(200 * x)

    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Raw(net, optimizer="Adam", lr=1e-3), loader(30), monitor, steps=5)
    finding = only(monitor.findings)
    assert (finding.code, finding.severity, finding.step) == ("IM701", CRITICAL, 0)


def test_data_that_asks_for_its_gradient_is_data_and_a_learned_query_is_none() -> None:
    net = nn.Linear(4, 4)
    query = nn.Parameter(100 * torch.randn(8, 4))
    asked = (100 * torch.randn(8, 4)).requires_grad_()
    with init_monitor.watch(net, sinks=()) as monitor, monitor.step():
        net(asked).sum().backward()
    assert monitor.structure.layers[0].inputs == (INPUT,)
    with init_monitor.watch(net, sinks=()) as monitor, monitor.step():
        net(query).sum().backward()
    assert INPUT not in monitor.structure.layers[0].inputs


def test_an_input_twice_the_usual_is_told_where_steps_get_too_large_by_it() -> None:
    torch.manual_seed(0)

    def told(lr: float, optimizer: str = "SGD") -> list[Finding]:
        data = loader(16)
        data.dataset.tensors[0].mul_(22)  # type: ignore[attr-defined]
        monitor = InitMonitor(sinks=(), rules=(InputScale(), UpdateRatio()))
        fit(Classifier(mlp(2, 16), lr=lr, optimizer=optimizer), data, monitor)
        return [finding for finding in monitor.findings if finding.severity > INFO]

    assert {finding.code for finding in told(0.3)} == {"IM701"}, "the steps follow from it"
    assert told(1e-4) == []
    assert {finding.code for finding in told(1.0, "Adam")} == {"IM603"}, (
        "Adam's steps do not know the scale of the input"
    )
