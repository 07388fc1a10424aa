from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from builders import history, linear, measure, norm, only, parameter, rectifier
from hypothesis import given, strategies as st
from models import Classifier, fit, loader
from rectifier_units import PAIR, dead, straight, units
from torch import nn

import init_monitor
from init_monitor import InitMonitor
from init_monitor.records import Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import DeadReLU, LinearRegime
from init_monitor.rules.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor.records import History

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL


@pytest.mark.parametrize(
    ("share", "severity"), [(0.349, None), (0.35, WARNING), (0.799, WARNING), (0.8, CRITICAL), (1.0, CRITICAL)]
)
def test_the_share_of_dead_units_decides(share: float, severity: Severity | None) -> None:
    assert [f.severity for f in dead(units(share))] == ([severity] if severity else [])


def test_forty_percent_dead_units_fire_at_seventy_percent_zeros() -> None:
    finding = only(dead(units(0.4, zero_fraction=0.7)))
    assert (finding.code, finding.rule, finding.severity) == ("IM301", "dead-relu", WARNING)
    assert finding.layers == ("net.1",)
    assert finding.evidence["dead_fraction"] == 0.4
    assert finding.evidence["zero_fraction"] == 0.7
    assert finding.evidence["samples"] == 4096.0
    assert finding.evidence["detectable_rate"] == 3 / 4096
    assert "40 % of the units of net.1, fed by net.0," in finding.message
    assert "4,096 samples" in finding.message


def test_ninety_six_percent_zeros_without_a_dead_unit_do_not() -> None:
    assert dead(units(0.0, zero_fraction=0.965)) == []


@pytest.mark.parametrize(("samples", "fires"), [(999, False), (1000, True), (math.nan, False)])
def test_too_few_samples_say_nothing(samples: float, *, fires: bool) -> None:
    assert bool(dead(units(0.9, samples=samples))) is fires
    assert bool(straight(units(0.5, 0.5, samples=samples))) is fires


def test_what_was_not_measured_is_neither_dead_nor_linear() -> None:
    assert dead(units(math.nan)) == []
    assert straight(units(0.6, math.nan)) == []
    assert dead(history(PAIR, {})) == []


def test_a_whole_layer_dead_says_that_nothing_passes() -> None:
    assert "Nothing passes" in only(dead(units(1.0))).message


def test_an_activation_that_is_not_flat_below_zero_has_no_dead_units() -> None:
    leaky = Structure((linear(0, "a"), rectifier(1, "b", kind="LeakyReLU")))
    assert dead(units(0.9, structure=leaky)) == []
    assert only(straight(units(0.5, 0.45, structure=leaky))).severity is WARNING
    gelu = Structure((linear(0, "a"), rectifier(1, "b", kind="GELU", piecewise_linear=False)))
    assert straight(units(0.5, 0.5, structure=gelu)) == []


@pytest.mark.parametrize(
    ("negative", "positive", "fires"),
    [(0.38, 0.38, False), (0.42, 0.33, False), (0.45, 0.25, True), (0.40, 0.10, True)],
)
def test_as_many_units_only_positive_as_only_negative_is_depth_and_not_death(
    negative: float, positive: float, *, fires: bool
) -> None:
    # 512 units: three standard deviations of a fair coin over 0.75 · 512 units are 0.115 of the layer.
    assert bool(dead(units(negative, positive))) is fires


def test_biases_pushed_far_below_zero_are_dead_units() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
    with torch.no_grad():
        parameter(model[0], "bias")[:40] = -100
    finding = only(dead(measure(model, torch.randn(1024, 64))))
    assert finding.evidence["dead_fraction"] == pytest.approx(0.4)
    assert "model[0].weight" in finding.remedy_code


MANY = Structure(
    tuple(
        layer
        for i in range(4)
        for layer in (
            linear(2 * i, f"net.{2 * i}", activation="ReLU", inputs=(f"net.{2 * i - 1}",) if i else ()),
            rectifier(2 * i + 1, f"net.{2 * i + 1}", inputs=(f"net.{2 * i}",)),
        )
    )
)


def test_layers_are_grouped_by_severity() -> None:
    share = [math.nan, 0.4, math.nan, 0.9, math.nan, 0.5, math.nan, 0.1]
    worse, milder = dead(units(share, structure=MANY))  # type: ignore[arg-type]
    assert (worse.severity, worse.layers) == (CRITICAL, ("net.3",))
    assert (milder.severity, milder.layers) == (WARNING, ("net.1", "net.5"))
    assert "In net.1 and net.5 it is at least 40 %" in milder.message


def test_the_code_addresses_the_layer_that_feeds_the_activation() -> None:
    layers = (
        linear(0, "conv", activation="ReLU", kind="Conv2d"),
        norm(1, "bn", inputs=("conv",)),
        rectifier(2, "act", inputs=("bn",)),
        linear(3, "other"),
    )
    code = only(dead(units(0.9, structure=Structure(layers)))).remedy_code
    assert "model.conv.weight" in code
    assert "other" not in code
    unknown = Structure((*layers[:2], replace(layers[2], inputs=())))
    assert "model.conv.weight" in only(dead(units(0.9, structure=unknown))).remedy_code


def test_a_rectifier_with_no_weight_layer_before_it_has_advice_without_code() -> None:
    finding = only(dead(units(0.9, structure=Structure((rectifier(0, "act"),)))))
    assert finding.remedy_sentence
    assert finding.remedy_code == ""
    assert "fed by" not in finding.message


@pytest.mark.parametrize("past", [units(0.5), units(0.45, 0.5)])
def test_every_finding_is_complete(past: History) -> None:
    finding = only(Engine((DeadReLU(), LinearRegime()), strict=True).judge(past))
    assert finding.message
    assert finding.expected
    assert "Shao" in finding.source
    compile(finding.remedy_code, "remedy", "exec")
    assert set(finding.expected) <= set(finding.evidence)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_zero_elements_never_make_a_finding_and_more_dead_units_never_a_milder_one(
    a: float, b: float, zeros: float
) -> None:
    def rank(share: float) -> int:
        return max((f.severity.rank for f in dead(units(share, zero_fraction=zeros))), default=-1)

    assert rank(min(a, b)) <= rank(max(a, b))
    assert rank(0.0) == -1


def killed(layer: nn.Linear, share: float) -> nn.Linear:
    """Put the first units of a layer out for good, whatever it receives."""
    with torch.no_grad():
        layer.bias[: int(share * layer.out_features)] = -1e3
    return layer


class SharedReLU(nn.Module):
    """One rectifier module, called behind two layers."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.first, self.second = killed(nn.Linear(32, 128), share), nn.Linear(128, 64)
        self.head, self.relu = nn.Linear(64, 10), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.relu(self.second(self.relu(self.first(x)))))
        return out


def with_dropout(share: float) -> nn.Sequential:
    return nn.Sequential(
        killed(nn.Linear(32, 128), share), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )


@pytest.mark.parametrize("make", [SharedReLU, with_dropout])
@pytest.mark.parametrize(
    ("share", "batch", "expected"), [(0.45, 64, True), (0.0, 64, False), (0.6, 16, True), (0.0, 16, False)]
)
def test_dead_units_are_found_at_small_batches_within_the_dense_start(
    make: Callable[[float], nn.Module], share: float, batch: int, *, expected: bool
) -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(make(share), optimizer="Adam", lr=1e-3), loader(32, samples=2048, batch=batch), monitor, steps=12)
    found = [finding for finding in monitor.findings if finding.code == "IM301"]
    assert bool(found) is expected, monitor.findings
    if expected:
        assert found[0].evidence["samples"] < 1000
        assert found[0].evidence["dead_at_least"] >= 0.35
        assert "nn.init" in found[0].remedy  # they never fired


def test_a_random_sparse_layer_is_left_alone_at_any_batch() -> None:
    for batch in (16, 64, 256):
        torch.manual_seed(0)
        first = nn.Linear(32, 256)
        net = nn.Sequential(first, nn.ReLU(), nn.Linear(256, 10))
        with torch.no_grad():
            first.weight.mul_(1 / first.weight.norm(dim=1, keepdim=True))
            first.bias.fill_(-1.75)  # a unit fires on 4 % of standard normal inputs
        monitor = InitMonitor(sinks=(), strict=True)
        fit(Classifier(net, lr=1e-4), loader(32, samples=2048, batch=batch), monitor, steps=12)
        zeros = monitor.records[-1].layer_table.at("net.1", Quantity.ZERO_FRACTION)
        assert zeros == pytest.approx(0.96, abs=0.02)
        assert [f for f in monitor.findings if f.code == "IM301"] == []


def test_units_that_training_put_out_are_not_told_to_be_initialised_anew() -> None:
    structure = Structure((linear(0, "fc"), rectifier(1, "act", inputs=("fc",))))

    def columns(dead: float, samples: float) -> dict[Quantity, object]:
        return {
            Quantity.DEAD_FRACTION: [np.nan, dead],
            Quantity.ALL_POSITIVE_FRACTION: [np.nan, 0.0],
            Quantity.UNIT_SAMPLES: [np.nan, samples],
            Quantity.UNIT_COUNT: [np.nan, 64],
        }

    died = only(DeadReLU().judge(history(structure, columns(0.05, 64), columns(0.6, 4096))))
    assert "At step 0 they fired" in died.message
    assert "learning rate" in died.remedy_sentence
    assert "nn.init" not in died.remedy
    born = only(DeadReLU().judge(history(structure, columns(0.6, 64), columns(0.6, 4096))))
    assert "nn.init" in born.remedy
    # The first record of few samples overstates; what fires at a later one can fire.
    later = only(DeadReLU().judge(history(structure, columns(0.3, 64), columns(0.1, 1024), columns(0.5, 4096))))
    assert "At step 1 they fired" in later.message
    assert "nn.init" not in later.remedy


@pytest.mark.parametrize(
    ("dead", "count", "expected"), [(2 / 3, 3, False), (1.0, 3, True), (0.5, 8, True), (2 / 3, np.nan, True)]
)
def test_two_units_of_three_are_chance_and_a_whole_layer_is_not(dead: float, count: float, *, expected: bool) -> None:
    columns = {
        Quantity.DEAD_FRACTION: [np.nan, dead],
        Quantity.ALL_POSITIVE_FRACTION: [np.nan, 0.0],
        Quantity.UNIT_SAMPLES: [np.nan, 4096],
        Quantity.UNIT_COUNT: [np.nan, count],
    }
    assert bool(list(DeadReLU().judge(history(PAIR, columns)))) is expected


def off_in_the_middle() -> nn.Sequential:
    first, second, third = nn.Linear(16, 32), nn.Linear(32, 32), nn.Linear(32, 32)
    nn.init.constant_(second.bias, -20.0)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third, nn.ReLU(), nn.Linear(32, 10))


def test_a_layer_that_is_off_altogether_is_critical_and_alone_told() -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(off_in_the_middle()), loader(16), monitor, steps=6)
    told = [finding for finding in monitor.findings if finding.code == "IM301"]
    # Not what lies behind it and gets the same for every sample; and neither is its gradient of 0 told besides.
    assert [(finding.severity, finding.layers, finding.step) for finding in told] == [(CRITICAL, ("net.3",), 1)]
    assert not [finding for finding in monitor.findings if finding.code == "IM202"]


def test_a_whole_layer_of_few_elements_may_be_off_by_chance() -> None:
    few = {"dead_at_least": 0.1, "unit_count": 8}
    assert not dead(units(1.0, samples=100, structure=PAIR, **few))
    assert only(dead(units(1.0, samples=125, structure=PAIR, **few))).severity is CRITICAL


class Averaged(nn.Module):
    """Mixes up the dimension of the batch and that of the features between two layers, so that the second sees one sample."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim, self.first, self.second = dim, nn.Linear(16, 16), nn.Linear(16, 64)
        self.last = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        h = h.mean(0, keepdim=True).expand_as(h) if self.dim == 0 else h
        made: torch.Tensor = self.last(torch.relu(self.second(h)))
        return made


def test_units_behind_what_is_the_same_for_all_samples_are_not_dead_by_it() -> None:
    """Half of the units of a rectifier that gets one sample are off; that is told of the samples and not of the units."""
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(Averaged(0)), loader(16), monitor, steps=60, max_epochs=-1)
    codes = {finding.code for finding in monitor.findings}
    assert "IM702" in codes
    assert "IM301" not in codes
    bias = Averaged(1)
    with torch.no_grad():
        bias.second.bias[:40] = -30.0
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(bias), loader(16), monitor, steps=60, max_epochs=-1)
    assert "IM301" in {finding.code for finding in monitor.findings}


class Narrow(nn.Module):
    """A decoder behind a code of one or two numbers, which first has to spread: biases decide its signs until then."""

    def __init__(self, code: int, width: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.code, self.reads = nn.Linear(16, code), nn.Linear(code, width)
        self.encoder = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 16), nn.Tanh(), self.code)
        nn.init.normal_(self.code.weight, std=0.02)
        self.decoder = nn.Sequential(self.reads, nn.ReLU(), nn.Linear(width, 20))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.decoder(self.encoder(x))
        return made


def narrow(code: int, width: int, seed: int, *, killed: int = 0) -> list[str]:
    model = Narrow(code, width, seed)
    if killed:
        with torch.no_grad():
            model.reads.bias[:killed] = -10.0
            model.code.weight.mul_(50)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    factors = torch.randn(2, 20, generator=torch.Generator().manual_seed(0))
    with init_monitor.watch(model, optimizer=optimizer, sinks=()) as monitor:
        for step in range(151):
            z = torch.randn(64, 2, generator=torch.Generator().manual_seed(step))
            with monitor.step() as one:
                x = z @ factors
                loss = (model(x) - x).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                one.loss = loss
    return [f.code for f in monitor.findings if f.severity is not INFO]


@pytest.mark.parametrize(("code", "width", "seed"), [(2, 16, 1), (2, 16, 8), (2, 64, 3), (1, 24, 5)])
def test_units_whose_signs_biases_decide_until_a_code_spreads_are_not_dead(code: int, width: int, seed: int) -> None:
    assert "IM301" not in narrow(code, width, seed)


def test_units_that_a_bias_switches_off_beside_others_that_see_both_signs_are() -> None:
    assert "IM301" in narrow(2, 32, 0, killed=20)
