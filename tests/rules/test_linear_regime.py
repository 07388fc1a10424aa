from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from builders import history, linear, measure, only, rectifier
from rectifier_units import PAIR, dead, straight, units
from torch import nn

from init_monitor import check
from init_monitor.records import Figure, Finding, Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import DeadReLU, LinearRegime
from init_monitor.rules.engine import Engine

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL


HIDDEN = Structure((*PAIR.layers, linear(2, "net.2", inputs=("net.1",))))
"""The same with a layer that reads what the rectifier makes."""


def test_the_reference_network_of_fifty_he_layers_has_no_dead_layers_but_a_linear_regime() -> None:
    torch.manual_seed(0)
    modules = [m for _ in range(50) for m in (nn.Linear(256, 256), nn.ReLU())]
    for module in modules[::2]:
        nn.init.kaiming_normal_(module.weight)  # type: ignore[arg-type]
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    past = measure(nn.Sequential(*modules), torch.randn(1024, 256))
    assert dead(past) == []
    assert only(straight(past)).severity is INFO


@pytest.mark.parametrize(
    ("negative", "positive", "severity"),
    [(0.25, 0.24, None), (0.25, 0.25, INFO), (0.3, 0.59, INFO), (0.3, 0.6, WARNING), (0.0, 1.0, WARNING)],
)
def test_the_share_of_one_sided_units_decides_on_the_linear_regime(
    negative: float, positive: float, severity: Severity | None
) -> None:
    found = straight(units(negative, positive, structure=HIDDEN))
    assert [f.severity for f in found] == ([severity] if severity else [])
    if found:
        assert found[0].code == "IM302"
        assert found[0].evidence["linear_fraction"] == pytest.approx(negative + positive)
        assert found[0].evidence["all_positive_fraction"] == positive


def test_a_cut_of_the_output_that_it_is_always_above_is_no_fault_unless_units_are_off() -> None:
    assert straight(units(0.0, 1.0)) == []
    assert [f.severity for f in straight(units(0.3, 0.7))] == [WARNING]


def test_a_layer_that_is_merely_dead_is_not_reported_twice() -> None:
    past = units(0.95, 0.02)
    assert only(Engine((DeadReLU(), LinearRegime()), strict=True).judge(past)).code == "IM301"
    assert only(straight(past)).severity is WARNING  # alone it speaks for itself


def test_layers_whose_units_are_on_both_sides_are_told_beside_those_that_died() -> None:
    share = [math.nan, 0.9, math.nan, 0.3, math.nan, 0.9, math.nan, 0.1]
    positive = [math.nan, 0.0, math.nan, 0.3, math.nan, 0.0, math.nan, 0.1]
    past = units(share, positive, structure=MANY)  # type: ignore[arg-type]
    died, linear_ = Engine((DeadReLU(), LinearRegime()), strict=True).judge(past)
    assert (died.layers, linear_.layers) == (("net.1", "net.5"), ("net.3",))
    assert linear_.evidence["linear_fraction"] == 0.6


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


def test_the_calls_of_one_layer_are_judged_together_and_those_of_a_bare_rectifier_are_not() -> None:
    def called(*modules: str) -> Structure:
        layers = []
        for i, module in enumerate(modules):
            fed = linear(2 * i, f"{module}#{i + 1}", inputs=("input",), weight=f"{module}.weight")
            layers.append(replace(fed, module=module))
            layers.append(replace(rectifier(2 * i + 1, f"act#{i + 1}", inputs=(fed.name,)), module="act"))
        return Structure((*layers, linear(4, "head", inputs=("act#1", "act#2"))))

    columns = {
        Quantity.DEAD_FRACTION: [math.nan, 0.5, math.nan, 0.3, math.nan],
        Quantity.ALL_POSITIVE_FRACTION: [math.nan, 0.45, math.nan, 0.3, math.nan],
        Quantity.UNIT_SAMPLES: 2000.0,
        Quantity.UNIT_COUNT: 64.0,
        Quantity.ZERO_FRACTION: 0.5,
        Quantity.BETWEEN_SAMPLE_SHARE: 0.5,
    }
    together = only(straight(history(called("critic", "critic"), columns)))
    assert together.severity == INFO
    assert float(together.evidence["linear_fraction"]) == pytest.approx(0.6)
    apart = straight(history(called("one", "two"), columns))
    assert [finding.severity for finding in apart] == [WARNING, INFO]


@pytest.mark.parametrize("norm", [False, True])
def test_a_leaky_rectifier_of_slope_one_is_told_at_once_and_others_are_not(*, norm: bool) -> None:
    def network(*slopes: float) -> nn.Sequential:
        torch.manual_seed(0)
        parts: list[nn.Module] = []
        for slope in slopes:
            parts += [nn.Conv1d(4, 4, 3, padding=1), *([nn.BatchNorm1d(4)] if norm else []), nn.LeakyReLU(slope)]
        return nn.Sequential(*parts, nn.Flatten(), nn.Linear(64, 3))

    batch = torch.randn(32, 4, 16)
    found = [one for one in check(network(0.1, 1.0), batch).findings if one.code == "IM302"]
    finding = only(found)
    assert (finding.severity, finding.layers) == (Severity.WARNING, ("5",) if norm else ("3",))
    assert "one linear map" in finding.message
    assert "inplace" in finding.remedy
    assert not [one for one in check(network(0.1, 0.999), batch).findings if one.code == "IM302"]


def test_a_slope_of_one_is_told_beside_a_signal_that_fades() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*(part for _ in range(12) for part in (nn.Linear(16, 16), nn.LeakyReLU(1))), nn.Linear(16, 2))
    codes = {one.code for one in check(net, torch.randn(64, 16)).findings if one.severity > Severity.INFO}
    assert {"IM302", "IM202"} <= codes


@pytest.mark.parametrize(("gain", "left"), [(0.001, True), (50.0, False)], ids=["far too small", "far too large"])
def test_units_that_see_one_sign_behind_weights_that_are_far_too_small_are_left_to_these(
    gain: float, *, left: bool
) -> None:
    finding = only(straight(units(0.3, 0.7, structure=HIDDEN)))
    unit = "fan_in · Var(W)"
    unfit = Finding(
        "init-mismatch",
        "IM502",
        CRITICAL,
        ("net.0",),
        0,
        "",
        {"gain_from_weights": Figure(gain, unit)},
        {"gain_from_weights": Figure(2.0, unit)},
    )
    assert LinearRegime().leaves(finding, unfit, HIDDEN) == (frozenset(finding.layers) if left else frozenset())


class Pooled(nn.Module):
    """The mean over 200 places of which a few are filled, by how many there are or by how many are filled."""

    def __init__(self, *, masked: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rows, self.masked = nn.Embedding(50, 32, padding_idx=0), masked
        self.net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = self.rows(x).sum(1)
        output: torch.Tensor = self.net(total / ((x > 0).sum(1, keepdim=True) if self.masked else x.shape[1]))
        return output


def places() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    filled = torch.randint(1, 50, (1024, 200), generator=generator)
    return torch.where(torch.arange(200) < torch.randint(2, 4, (1024, 1), generator=generator), filled, 0)


def test_where_a_mean_over_padding_leaves_next_to_nothing_that_is_named_and_no_weight() -> None:
    (finding,) = [one for one in check(Pooled(masked=False), places()).findings if one.code == "IM302"]
    assert "between rows and net.0 something multiplies" in finding.message
    assert "the biases decide" in finding.message
    assert "divide by how many are filled" in finding.remedy
    assert "init" not in finding.remedy
    assert not [one for one in check(Pooled(masked=True), places()).findings if one.severity > INFO]
