"""A network that started well and was broken by its updates needs another remedy than one that was badly initialised."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from builders import history, linear, linears, only, parameter, record, rectifier
from models import Classifier, fit, loader, mlp
from torch import nn

import init_monitor
from init_monitor import InitMonitor, Severity, Structure
from init_monitor.analysis import turning
from init_monitor.analysis.segments import segments
from init_monitor.records import History, LossStretch
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import learning_rate, made_by_training, snippets
from init_monitor.rules import (
    ExplodingActivations,
    ExplodingGradients,
    NonFinite,
    VanishingActivations,
    VanishingGradients,
)


@pytest.mark.parametrize(
    ("first", "now", "direction", "expected"),
    [
        (2.0, 2e6, 1, True),
        (2e6, 2e6, 1, False),
        (1e4, 2e6, 1, False),
        (8.0, 2e6, 1, True),  # four times too large at the start: in order
        (20.0, 2e6, 1, False),  # ten times: made to explode
        (2.0, 2e-6, -1, True),
        (2e-6, 2e-6, -1, False),
        (2.0, 2e-6, 1, False),
        (float("nan"), 2e6, 1, False),
        (0.0, 2e6, 1, False),
    ],
)
def test_it_is_the_trainings_if_it_made_most_of_the_way(
    first: float, now: float, direction: int, *, expected: bool
) -> None:
    made = made_by_training.made_by_training(
        np.array([first]), np.array([now]), np.array([2.0]), 0, direction=direction
    )
    assert made is expected


@pytest.mark.parametrize(("rule", "factor"), [(ExplodingActivations(), 1e3), (VanishingActivations(), 1e-3)])
def test_the_remedy_for_weights_that_training_spoiled_is_the_learning_rate(rule: object, factor: float) -> None:
    structure = linears(6)

    def columns(gain: float) -> dict[Quantity, object]:
        return {
            Quantity.VARIANCE: [gain ** (i + 1) for i in range(6)],
            Quantity.GAIN: gain,
            Quantity.EXPECTED_GAIN: gain,
        }

    spoiled = only(rule.judge(history(structure, columns(1.0), columns(factor))))  # type: ignore[attr-defined]
    assert "At step 0 its weights were fine" in spoiled.message
    assert "learning rate" in spoiled.remedy_sentence
    assert "nn.init" not in spoiled.remedy
    born = only(rule.judge(history(structure, columns(factor), columns(factor))))  # type: ignore[attr-defined]
    assert "were fine" not in born.message
    assert "nn.init" in born.remedy_code


def test_a_learning_rate_that_blows_a_healthy_network_up_is_what_the_findings_blame() -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(mlp(5, 64), lr=100.0), loader(64, samples=256, batch=32), monitor, steps=8)
    found = {finding.code: finding for finding in monitor.findings}
    assert found["IM101"].step > 0
    for code in ("IM101", "IM601"):
        assert "learning rate" in found[code].remedy_sentence, found[code]
        assert "nn.init" not in found[code].remedy


def test_at_the_rate_that_the_remedy_tells_the_network_learns() -> None:
    def trained(rate: float) -> tuple[Classifier, InitMonitor]:
        torch.manual_seed(0)
        module, monitor = Classifier(mlp(5, 64), lr=rate), InitMonitor(sinks=(), strict=True)
        fit(module, loader(64, samples=256, batch=32), monitor, steps=24)
        return module, monitor

    finding = next(f for f in trained(100.0)[1].findings if f.code == "IM101")
    (told,) = re.findall(r"optimizer = torch\.optim\.SGD\(model\.parameters\(\), lr=(\S+)\)", finding.remedy_code)
    assert finding.remedy_sentence.startswith(f"Lower the learning rate to about {told}. By the gradient of step 0,")
    module, monitor = trained(float(told))
    assert [f.code for f in monitor.findings if f.severity is not Severity.INFO] == []
    assert sum(module.losses[-8:]) < sum(module.losses[:8])


def test_where_no_step_was_too_large_or_all_exploded_no_rate_is_told() -> None:
    structure = linears(2)
    for ratio, told in ((0.05, False), (0.2, True), (1e30, False)):
        columns = {Quantity.UPDATE_RATIO: ratio, Quantity.WEIGHT_NORM: 1.0, Quantity.TRAINABLE: 1.0}
        past = history(structure, columns, columns, optimizer="SGD", learning_rate=0.1)
        remedy = made_by_training.remedy(past, direction=1)
        assert ("torch.optim.SGD" in remedy) is told
        assert (learning_rate.CLIP in remedy) is not told
    assert made_by_training.remedy(past, direction=-1).startswith("Lower the learning rate or the weight decay")


def test_an_overflow_behind_weights_that_grew_names_the_updates() -> None:
    structure = linears(3)
    bad = {Quantity.NONFINITE_COUNT: [0, 8, 8], Quantity.ABS_MAX: [1e20, np.nan, np.nan]}
    grown = only(NonFinite().judge(history(structure, {Quantity.WEIGHT_NORM: 1.0}, bad | {Quantity.WEIGHT_NORM: 1e15})))
    assert "1e15× as large as at step 0" in grown.message
    assert "learning rate" in grown.remedy_sentence
    same = only(NonFinite().judge(history(structure, {Quantity.WEIGHT_NORM: 1.0}, bad | {Quantity.WEIGHT_NORM: 1.0})))
    assert "as large as at step 0" not in same.message


@pytest.mark.parametrize("layout", ["all", "but the head", "every second", "scattered"])
def test_the_code_of_a_remedy_leaves_every_healthy_layer_alone(layout: str) -> None:
    torch.manual_seed(0)
    model = nn.Module()
    model.blocks = nn.ModuleList(nn.Sequential(nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 50)) for _ in range(20))
    names = [f"blocks.{i}.{k}" for i in range(20) for k in (0, 2)]
    blamed = {
        "all": names,
        "but the head": names[:-1],
        "every second": names[1::2],
        "scattered": [name for i, name in enumerate(names) if i % 3],
    }[layout]
    layers = [linear(i, name, activation="ReLU") for i, name in enumerate(names)]
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(7.0)
    code = snippets.initialise([layer for layer in layers if layer.name in blamed], among=Structure(tuple(layers)))
    exec(compile(code, "remedy", "exec"), {"model": model})  # noqa: S102 - it is the code a user is asked to paste
    for name in names:
        touched = bool((parameter(model.get_submodule(name)) != 7).all())
        assert touched is (name in blamed), (name, code)
    assert max(len(line) for line in code.splitlines()) <= 100
    assert ("in range(20)" in code) is (layout == "every second")
    assert ("isinstance" in code) is (layout in {"all", "but the head"})


def test_a_single_jump_is_called_one_place_even_if_the_slope_sees_it() -> None:
    structure = linears(10, activation="ReLU")
    gains = [1e6 if i == 4 else 2.0 for i in range(10)]
    variances = [1.0] * 4 + [1e6] * 6
    columns = {Quantity.VARIANCE: variances, Quantity.GAIN: gains, Quantity.EXPECTED_GAIN: gains}
    finding = only(ExplodingActivations().judge(history(structure, columns)))
    assert "grows at one place" in finding.message
    assert finding.layers == ("net.4",)


def gradients(count: int, factor: float, **more: object) -> dict[Quantity, object]:
    variances = [factor ** (count - 1 - i) for i in range(count)]
    return {Quantity.GRADIENT_VARIANCE: variances, Quantity.GRADIENT_COUNT: 512.0} | {
        Quantity(name): value for name, value in more.items()
    }


def test_weights_that_hardly_move_while_others_learn_are_critical_whatever_the_norm_says() -> None:
    structure = linears(6, activation="ReLU")
    for slow, severity in ((1e-8, Severity.CRITICAL), (1e-5, Severity.WARNING)):
        columns = gradients(6, 0.05, update_ratio=[slow] + [1e-3] * 5)
        finding = only(VanishingGradients().judge(history(structure, columns, optimizer="SGD")))
        assert finding.severity is severity
    stalled = gradients(6, 0.05, update_ratio=[1e-8] + [1e-7] * 5)  # a warm-up: nothing moves yet
    finding = only(VanishingGradients().judge(history(structure, stalled, optimizer="SGD")))
    assert finding.severity is Severity.WARNING


def test_nobody_is_told_to_clip_a_gradient_that_vanishes() -> None:
    for activation, words in (("Sigmoid", "another activation than Sigmoid"), ("Softplus", "residual connections")):
        finding = only(VanishingGradients().judge(history(linears(6, activation=activation), gradients(6, 0.01))))
        assert "clip" not in finding.remedy
        assert words in finding.remedy
    growing = only(ExplodingGradients().judge(history(linears(6, activation="Softplus"), gradients(6, 100.0))))
    assert "clip" in growing.remedy


def test_a_gradient_that_is_the_same_everywhere_is_not_called_zero() -> None:
    columns = gradients(5, 1.0, gradient_mean_square=1e-4)
    columns[Quantity.GRADIENT_VARIANCE] = [0.0, 0.0, 0.0, 1.0, 1.0]
    assert not list(VanishingGradients().judge(history(linears(5), columns, columns)))
    columns[Quantity.GRADIENT_MEAN_SQUARE] = [0.0, 0.0, 0.0, 1.0, 1.0]
    assert "exactly 0" in only(VanishingGradients().judge(history(linears(5), columns, columns))).message


def test_updates_that_are_even_but_far_too_large_are_not_called_enough_to_learn() -> None:
    for ratio, words in ((0.01, "a usual size"), (5.0, "much like those of the other layers")):
        columns = gradients(6, 100.0, update_ratio=ratio, weight_gradient_norm=1.0, weight_count=100.0)
        finding = only(ExplodingGradients().judge(history(linears(6), columns, optimizer="Adam")))
        assert finding.severity is Severity.INFO
        assert words in finding.message
    assert "5 times their size" in finding.message


def test_the_outputs_of_one_call_lie_side_by_side() -> None:
    outputs = [linear(i, "lstm", name=f"lstm{path}", kind="LSTM") for i, path in enumerate(("[0]", "[1][0]", "[1][1]"))]
    act = replace(rectifier(3, "act"), inputs=("lstm[0]",))
    structure = Structure((*outputs, act, linear(4, "head", inputs=("act",))))
    (segment,) = segments(structure)
    assert segment.levels == (0, 0, 0, 1)
    first, second = (linear(i, "fc", name=f"fc#{i + 1}") for i in range(2))
    assert segments(Structure((first, replace(second, inputs=("fc#1",)))))[0].levels == (0, 1)
    # Of what nothing is known, nothing is claimed.
    assert [one.levels for one in segments(Structure((first, second)))] == [(0,), (0,)]


def shrinking(
    factor: float,
    *,
    decay: float = 0.0,
    optimizer: str = "SGD",
    momentum: float = 0.0,
    pull: float = 0.1,
    rate: float = 0.1,
) -> History:
    """Three layers whose weights shrink by a factor over 100 steps; the gradient is ``pull`` times the weight."""
    structure = linears(3)

    def columns(scale: float) -> dict[Quantity, object]:
        return {
            Quantity.EXPECTED_GAIN: scale**2,
            Quantity.GAIN: scale**2,
            Quantity.VARIANCE: scale**2,
            Quantity.WEIGHT_NORM: scale,
            Quantity.WEIGHT_GRADIENT_NORM: pull * scale,
            Quantity.UPDATE_RATIO: 1e-3,
            Quantity.TRAINABLE: 1.0,
        }

    settings = {"optimizer": optimizer, "learning_rate": rate, "weight_decay": decay, "momentum": momentum}
    records = [
        record(structure, columns(scale), step=step, **settings)
        for step, scale in ((0, 1.0), (50, factor**-0.5), (100, 1 / factor))
    ]
    return History(records, structure)


def test_short_networks_are_compared_with_themselves_at_the_start() -> None:
    finding = only(VanishingActivations().judge(shrinking(10.0)))
    assert "have shrunk since step 0" in finding.message
    assert finding.layers == ("net.0", "net.1", "net.2")
    assert "nn.init" not in finding.remedy
    assert list(VanishingActivations().judge(shrinking(5.0))) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"decay": 0.3}, "takes 3 % off each weight per step"),  # 0.1 · 0.3
        ({"decay": 0.03, "momentum": 0.9}, "takes 3 % off each weight per step"),  # momentum adds ten steps up
        ({"decay": 30.0, "optimizer": "AdamW", "rate": 1e-3}, "takes 3 % off each weight per step"),
        ({"decay": 0.3, "optimizer": "Adam", "rate": 1e-3}, "is 3 times the gradient of the loss"),
    ],
)
def test_weight_decay_is_named_with_its_value_and_what_it_takes_per_step(settings: dict[str, Any], words: str) -> None:
    finding = only(VanishingActivations().judge(shrinking(10.0, **settings)))
    assert finding.remedy.startswith("Lower the weight decay")
    assert f"the {settings['decay']:g} of" in finding.remedy
    assert words in finding.remedy
    usual = 0.01 if settings.get("optimizer") == "AdamW" else 0.0001
    assert f"weight_decay={usual:g})" in finding.remedy_code


@pytest.mark.parametrize("settings", [{}, {"decay": 1e-4}, {"decay": 1e-2, "optimizer": "Adam"}])
def test_what_no_step_and_no_decay_explains_is_asked_for_by_the_loss(settings: dict[str, float]) -> None:
    finding = only(VanishingActivations().judge(shrinking(10.0, **settings)))  # type: ignore[arg-type]
    assert "a penalty on the weights" in finding.remedy
    assert "smaller weight" in finding.remedy


def test_the_optimizers_decay_and_momentum_are_in_the_record() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    groups: Any = [{"params": net[0].parameters(), "weight_decay": 0.5}, {"params": net[1].parameters()}]
    for optimizer, decay, momentum in (
        (torch.optim.SGD(groups, lr=0.1, momentum=0.8), 0.5, 0.8),
        (torch.optim.AdamW(net.parameters(), lr=0.1, weight_decay=0.02, betas=(0.7, 0.9)), 0.02, 0.7),
    ):
        with init_monitor.watch(net, optimizer=optimizer, sinks=()) as monitor, monitor.step():
            net(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
        assert (monitor.records[-1].weight_decay, monitor.records[-1].momentum) == (decay, momentum)


def test_steps_that_are_mostly_decay_are_not_the_rates_fault() -> None:
    assert made_by_training.less_decay(shrinking(10.0, decay=0.3), 0.05).startswith("Lower the weight decay")
    assert not made_by_training.less_decay(shrinking(10.0, decay=0.3), 0.5)
    assert not made_by_training.less_decay(shrinking(10.0), 0.05)


class Heavy(Classifier):
    """SGD whose momentum adds up a thousand steps."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.999)


def test_a_momentum_that_adds_up_for_too_long_is_what_the_code_changes() -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), every_n_steps=10)
    fit(Heavy(mlp(4, 64)), loader(64), monitor, steps=200)
    told = [one for one in monitor.findings if one.code == "IM101" and one.remedy_code]
    assert told
    assert "that of 0.999 adds up 1,000 steps" in told[0].remedy
    assert "momentum=0.9)" in told[0].remedy_code


def climbing(values: Any, rates: tuple[float, float] = (0.1, 0.1)) -> int:
    records = [record(linears(2), {}, step=step, learning_rate=rate) for step, rate in zip((0, 60), rates, strict=True)]
    past = History(records, linears(2))
    past.losses.add(LossStretch(np.arange(len(values)), np.asarray(values, np.float32)))
    return turning.climbed(past)


def test_a_loss_that_climbs_from_its_start_is_told_apart_from_one_that_is_thrown() -> None:
    steps = np.arange(100)
    noise = 0.02 * np.random.default_rng(0).standard_normal(100)
    slow = 3 + noise + np.exp(0.2 * (steps - 70))
    assert climbing(slow) == 100
    assert climbing([*slow[:95], math.nan]) == 95
    assert climbing(slow, rates=(0.1, 0.2)) == 0, "a schedule"
    assert climbing(3 + noise + np.exp(0.9 * (steps - 5)).clip(max=1e9)) == 0, "at once"
    assert climbing(slow - 0.01 * steps.clip(max=40)) == 0, "it had fallen"
    assert climbing(3 + noise) == 0


def test_who_is_sent_to_the_signs_is_told_of_the_rate_as_well() -> None:
    finding = made_by_training.signs(_past(slow=True))
    assert finding.startswith("Look at the sign of each term of the loss first")
    assert made_by_training.signs(_past(slow=False)) == ""
    wrong = made_by_training.remedy(_past(slow=True), direction=1)
    assert "lower the learning rate" in wrong.partition("\n\n")[0]


def _past(*, slow: bool) -> History:
    values = 3 + np.exp((0.2 if slow else 2.0) * (np.arange(90.0) - (70 if slow else 4)).clip(max=20))
    records = [record(linears(2), {}, step=step, learning_rate=0.1) for step in (0, 80)]
    past = History(records, linears(2))
    past.losses.add(LossStretch(np.arange(90), values.astype(np.float32)))
    return past
