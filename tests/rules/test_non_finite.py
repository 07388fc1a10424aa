from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from builders import history, linear, linears, norm, only
from hypothesis import given, strategies as st
from models import Classifier, fit, loader
from torch import nn

from init_monitor import InitMonitor
from init_monitor.records import Finding, History, Layer, LossStretch, Role, Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import NonFinite

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL
NET = linears(4)
FORWARD, BACKWARD = Quantity.NONFINITE_COUNT, Quantity.GRADIENT_NONFINITE_COUNT
GRADIENT, WEIGHT_GRADIENT = Quantity.WEIGHT_GRADIENT_NORM, Quantity.WEIGHT_GRADIENT_NONFINITE_COUNT
FINE: dict[Quantity, Any] = {FORWARD: 0.0, BACKWARD: 0.0, Quantity.ABS_MAX: 3.0}


def judge(past: History) -> list[Finding]:
    return list(NonFinite().judge(past))


def finding_of(columns: dict[Quantity, Any], structure: Structure = NET, **fields: Any) -> Finding:
    return only(judge(history(structure, {**FINE, **columns}, **fields)))


def test_finite_numbers_and_unmeasured_ones_are_no_finding() -> None:
    assert judge(history(NET, FINE)) == []
    assert judge(history(NET, {})) == []
    assert judge(history(NET, {FORWARD: math.nan, BACKWARD: math.nan})) == []


def test_forward_the_first_layer_in_execution_order_is_named() -> None:
    finding = finding_of({FORWARD: [0, 7, 512, 512], BACKWARD: 512})
    assert (finding.code, finding.severity, finding.layers) == ("IM601", CRITICAL, ("net.1",))
    assert finding.evidence["nonfinite_count"] == 7.0
    assert finding.expected["nonfinite_count"] == 0.0
    assert "Forward, the output of net.1 is the first that is not finite: 7 elements" in finding.message
    assert "arose in this layer or in an operation just before it" in finding.message


def test_backward_the_last_layer_in_execution_order_is_named() -> None:
    finding = finding_of({BACKWARD: [512, 512, 9, 0]})
    assert (finding.severity, finding.layers) == (CRITICAL, ("net.2",))
    assert finding.message.startswith("Backward, the gradient of net.2 is the first")
    assert "a derivative between them" in finding.message
    assert "set_detect_anomaly(True)" in finding.remedy_code


def test_a_gradient_that_is_not_finite_from_the_last_layer_on_comes_from_the_loss() -> None:
    assert "the loss itself" in finding_of({BACKWARD: 1.0}).message


@pytest.mark.parametrize(("loss", "word"), [(math.inf, "infinite"), (math.nan, "NaN")])
def test_a_loss_that_overflows_by_itself_is_not_to_be_clipped(loss: float, word: str) -> None:
    finding = finding_of({BACKWARD: 1.0}, losses=LossStretch.of([(0, loss)]))
    assert f"the loss itself is {word}, by an operation in it" in finding.message
    assert "stable form" in finding.remedy_sentence
    assert "clip the gradient" in finding_of({BACKWARD: 1.0}, losses=LossStretch.of([(0, 2.0)])).remedy_sentence


def test_a_gradient_scaler_makes_it_information() -> None:
    finding = finding_of({BACKWARD: [1, 1, 0, 0]}, loss_scaled=True)
    assert finding.severity is INFO
    assert "skips this step" in finding.message


def test_a_gradient_scaler_that_never_succeeds_is_no_excuse() -> None:
    bad = {**FINE, BACKWARD: [1.0, 0, 0, 0]}
    assert only(judge(history(NET, *[bad] * 16, loss_scaled=True))).severity is INFO
    finding = only(judge(history(NET, *[bad] * 17, loss_scaled=True)))
    assert finding.severity is WARNING
    assert "17 sampled steps in a row" in finding.message
    assert only(judge(history(NET, *[bad] * 8, FINE, *[bad] * 8, loss_scaled=True))).severity is INFO


def test_forward_stays_critical_under_a_gradient_scaler() -> None:
    assert finding_of({FORWARD: [0, 0, 1, 1]}, loss_scaled=True).severity is CRITICAL


@pytest.mark.parametrize(
    ("dtype", "abs_max", "overflow"),
    [("float16", 60000.0, True), ("float16", 100.0, False), ("float32", 60000.0, False)],
)
def test_numbers_near_the_end_of_the_format_make_it_an_overflow(dtype: str, abs_max: float, *, overflow: bool) -> None:
    columns = {FORWARD: [0, 1, 1, 1], Quantity.ABS_MAX: [abs_max, 1, 1, 1]}
    finding = finding_of(columns, linears(4, dtype=dtype))
    assert ("it overflowed" in finding.message) is overflow
    assert bool(finding.remedy_code) is overflow
    assert ("float16 ends at 65,500" in finding.message) is overflow


def test_gradients_near_the_end_of_the_format_make_it_an_overflow() -> None:
    columns = {BACKWARD: [1, 1, 0, 0], Quantity.GRADIENT_ABS_MAX: [1.0, 1.0, 50000.0, 1.0]}
    assert "it overflowed" in finding_of(columns, linears(4, dtype="float16")).message


@pytest.mark.parametrize("parameter", ["net.1.weight", "net.1.bias"])
def test_a_broken_parameter_is_the_cause_in_its_layer(parameter: str) -> None:
    finding = finding_of(
        {FORWARD: [0, 1, 1, 1], Quantity.WEIGHT_NONFINITE_COUNT: [0, 1]},
        parameter_names=("net.0.weight", parameter),
    )
    assert finding.layers == ("net.1",)
    assert f"Its parameter {parameter} is not finite" in finding.message
    compile(finding.remedy_code, "remedy", "exec")


def test_at_the_first_layer_the_input_is_suspected() -> None:
    finding = finding_of({FORWARD: 1.0})
    assert finding.layers == ("net.0",)
    assert "the network's input" in finding.message
    compile(finding.remedy_code, "remedy", "exec")


def test_a_function_without_a_value_everywhere_is_named() -> None:
    log = Layer("log", "log", "LogModule", Role.OTHER, 1, inputs=("a",))
    finding = finding_of({FORWARD: [0, 3, 3]}, Structure((linear(0, "a"), log, linear(2, "b"))))
    assert finding.layers == ("log",)
    assert "LogModule has no finite value" in finding.message


def test_a_mask_of_infinities_that_goes_no_further_is_information() -> None:
    mask = Layer("mask", "mask", "CausalMask", Role.OTHER, 1)
    structure = Structure((linear(0, "a"), mask, linear(2, "b")))
    assert finding_of({FORWARD: [0, 10, 0]}, structure).severity is INFO
    assert finding_of({FORWARD: [0, 10, 10]}, structure).severity is CRITICAL
    assert finding_of({FORWARD: [0, 10, 0], BACKWARD: [1, 0, 0]}, structure).severity is CRITICAL
    assert (
        finding_of({FORWARD: [0, 10, 0]}, Structure((linear(0, "a"), norm(1, "n"), linear(2, "b")))).severity
        is CRITICAL
    )


def test_broken_parameters_alone_are_critical() -> None:
    finding = finding_of({Quantity.WEIGHT_NONFINITE_COUNT: [0, 2, 0, 0]})
    assert (finding.severity, finding.layers) == (CRITICAL, ("net.1.weight",))
    assert "its layer gave finite numbers" in finding.message
    odd = finding_of({Quantity.WEIGHT_NONFINITE_COUNT: [1]}, parameter_names=("scale",))
    assert "its layer is not watched" in odd.message


@pytest.mark.parametrize(("scaled", "severity"), [(False, CRITICAL), (True, INFO)])
def test_weight_gradients_alone_are_named_and_excused_like_gradients(severity: Severity, *, scaled: bool) -> None:
    finding = finding_of({Quantity.WEIGHT_GRADIENT_NONFINITE_COUNT: [0, 4, 0, 5]}, loss_scaled=scaled)
    assert (finding.severity, finding.layers) == (severity, ("net.1.weight", "net.3.weight"))
    assert finding.evidence["nonfinite_count"] == 9.0


UNWATCHED = ("gain", "net.1.weight", "net.2.weight", "net.3.weight")
SMALL = {Quantity.GRADIENT_ABS_MAX: 0.1, Quantity.COUNT: 4096.0}


@pytest.mark.parametrize(
    ("columns", "names", "dtype", "word"),
    [
        ({**SMALL, WEIGHT_GRADIENT: [3, 0, 0, 0]}, UNWATCHED, "float32", "gain belongs to no watched layer"),
        ({**SMALL, WEIGHT_GRADIENT: [0, 3, 0, 0]}, None, "float32", "something else uses the parameter"),
        # 60,000 · 3 · 4,096 is past what float16 holds
        ({**SMALL, Quantity.GRADIENT_ABS_MAX: 6e4, WEIGHT_GRADIENT: [0, 3, 0, 0]}, None, "float16", "in the sum over"),
        ({WEIGHT_GRADIENT: [0, 3, 0, 0]}, None, "float32", "in the sum over"),  # nothing is known of the sizes
    ],
)
def test_a_weight_gradient_has_it_from_its_sum_or_from_what_else_uses_the_parameter(
    columns: dict[Quantity, Any], names: tuple[str, ...] | None, dtype: str, word: str
) -> None:
    fields = {} if names is None else {"parameter_names": names}
    finding = finding_of(columns, linears(4, dtype=dtype), **fields)
    assert word in finding.message
    assert ("torch.where" in finding.remedy_sentence) is (word != "in the sum over")


class Penalised(Classifier):
    """Adds the root of the sum of each parameter's squares, which has no derivative where all of them are 0."""

    def __init__(self, least: float) -> None:
        first = nn.Linear(16, 32)
        super().__init__(nn.Sequential(first, nn.ReLU(), nn.Linear(32, 10)))
        self.least = least
        nn.init.zeros_(first.bias)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        penalty = sum((p.square().sum() + self.least).sqrt() for p in self.parameters())
        return super().training_step(batch, index) + 1e-3 * penalty


def test_a_penalty_without_a_derivative_is_told_from_an_overflow() -> None:
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Penalised(0.0), loader(16), monitor, steps=3)
    loud = [one for one in monitor.findings if one.severity is not INFO]
    assert loud[0].code == "IM601"
    assert "net.0.bias" in loud[0].message
    assert "something else uses the parameter" in loud[0].message
    silent = InitMonitor(sinks=(), strict=True)
    fit(Penalised(1e-12), loader(16), silent, steps=3)
    assert [one for one in silent.findings if one.severity is not INFO] == []


def test_a_layer_the_structure_does_not_know_is_still_found() -> None:
    past = history(NET, {**FINE, FORWARD: [0, 1, 1, 1]})
    assert only(judge(History(past.records, Structure()))).layers == ("net.1",)


@given(
    st.lists(st.sampled_from([0.0, 1.0, 5.0]), min_size=4, max_size=4),
    st.lists(st.sampled_from([0.0, 2.0]), min_size=4, max_size=4),
)
def test_at_most_one_finding_and_exactly_when_something_is_not_finite(
    forward: list[float], backward: list[float]
) -> None:
    found = judge(history(NET, {**FINE, FORWARD: forward, BACKWARD: backward}))
    assert len(found) == (any(forward) or any(backward))
    if found:
        assert found[0].message
        assert found[0].remedy_sentence
        assert found[0].source


class Masking(Classifier):
    """Some classes may not be chosen: their logits are masked with -inf before a log_softmax, a module or a function."""

    def __init__(self, *, module: bool) -> None:
        super().__init__(nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 10)), lr=0.05)
        self.scores = nn.LogSoftmax(dim=-1) if module else None

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _batch_idx: int) -> torch.Tensor:
        logits = self.net(batch[0])
        masked = logits.masked_fill(torch.arange(10) > 6, -torch.inf)
        scores = masked.log_softmax(-1) if self.scores is None else self.scores(masked)
        return nn.functional.nll_loss(scores, batch[1] % 7)


@pytest.mark.parametrize("module", [True, False])
def test_logits_that_the_network_masks_are_no_fault(module: bool) -> None:  # noqa: FBT001
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Masking(module=module), loader(16), monitor, steps=10)
    assert all(finding.severity is INFO for finding in monitor.findings)
    assert any((record.column(FORWARD) > 0).any() for record in monitor.records) is module


class AllMasked(Classifier):
    """Attention in which one sample has no place to look at."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(16, 10), lr=0.05)
        self.softmax = nn.Softmax(dim=-1)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _batch_idx: int) -> torch.Tensor:
        hidden = torch.zeros(len(batch[0]), 10, dtype=torch.bool)
        hidden[3] = True
        share = self.softmax(self.net(batch[0]).masked_fill(hidden, -torch.inf))
        return nn.functional.nll_loss(share.log(), batch[1])


def test_a_row_that_is_masked_altogether_is_named() -> None:
    monitor = InitMonitor(sinks=(), strict=True)
    fit(AllMasked(), loader(16), monitor, steps=3)
    finding = next(one for one in monitor.findings if one.code == "IM601")
    assert (finding.severity, finding.layers) == (CRITICAL, ("softmax",))
    assert "every position is masked" in finding.message
    assert "mask" in finding.remedy


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "RMSprop"])
def test_an_eps_that_half_precision_cannot_hold_is_named_with_one_that_it_can(optimizer: str) -> None:
    torch.manual_seed(0)

    class Half(Classifier):
        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _batch_idx: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self.net(batch[0].half()).float(), batch[1])

    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10)).half()
    nn.init.constant_(net[0].bias[:4], -30.0)  # type: ignore[index]
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Half(net, optimizer=optimizer, lr=1e-3), loader(16), monitor, steps=4)
    finding = next(one for one in monitor.findings if one.code == "IM601")
    assert "its eps of 1e-8 is 0 in float16" in finding.message
    assert "float32" in finding.remedy_sentence
    assert f"optimizer = torch.optim.{optimizer}(model.parameters(), lr=0.001, eps=1e-4)" in finding.remedy_code


def test_a_first_layer_of_the_program_may_divide_by_zero_itself() -> None:
    own = Layer("scale", "scale", "Standardise", Role.OTHER, 0, inputs=("input",))
    finding = finding_of({FORWARD: [3, 3]}, Structure((own, linear(1, "a"))), losses=LossStretch.of([(0, math.nan)]))
    assert "it divides by 0 itself" in finding.message
    assert "eps" in finding.remedy_sentence


@pytest.mark.parametrize(
    ("columns", "severity"),
    [
        ({GRADIENT: 1.0, WEIGHT_GRADIENT: 0.0}, INFO),
        ({GRADIENT: [1.0, math.nan, 1.0, 1.0], WEIGHT_GRADIENT: 0.0}, CRITICAL),  # one was not measured
        ({GRADIENT: 0.0, WEIGHT_GRADIENT: 0.0}, CRITICAL),
        ({GRADIENT: 1.0, WEIGHT_GRADIENT: [0.0, 0.0, 3.0, 0.0]}, CRITICAL),
        ({GRADIENT: 1.0, WEIGHT_GRADIENT: 0.0, Quantity.WEIGHT_NONFINITE_COUNT: [0.0, 1.0, 0.0, 0.0]}, CRITICAL),
        ({}, CRITICAL),
    ],
)
def test_a_gradient_of_which_no_parameter_shows_anything_is_information(
    columns: dict[Quantity, Any], severity: Severity
) -> None:
    finding = finding_of({BACKWARD: [1, 1, 0, 0], **columns})
    assert finding.severity is severity
    assert ("left that batch out" in finding.message) is (severity is INFO)


class ScaledByHand(Classifier):
    """Float16 as autocast has it, and a loss scale by hand: what overflows is left out, and the scale is lowered."""

    def __init__(self, *, looks: bool) -> None:
        super().__init__(nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10)))
        self.automatic_optimization, self.looks, self.scale = False, looks, 2.0**24

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], *_: Any) -> None:  # type: ignore[override]
        optimizer = self.optimizers()
        with torch.autocast("cpu", torch.float16):
            out = self(batch[0])
        optimizer.zero_grad()  # type: ignore[union-attr]
        self.manual_backward(nn.functional.cross_entropy(out.float(), batch[1]) * self.scale)
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        for gradient in gradients:
            gradient.div_(self.scale)
        if self.looks and not all(bool(g.isfinite().all()) for g in gradients):
            self.scale /= 2
        else:
            optimizer.step()  # type: ignore[union-attr]


@pytest.mark.parametrize("looks", [True, False])
def test_a_loss_scale_by_hand_is_no_fault_as_long_as_no_overflow_gets_into_the_weights(looks: bool) -> None:  # noqa: FBT001
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(ScaledByHand(looks=looks), loader(16), monitor, steps=20)
    loud = {finding.code for finding in monitor.findings if finding.severity > INFO}
    assert loud == (set() if looks else {"IM601"})
