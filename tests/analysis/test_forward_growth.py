from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from builders import history, in_a_row, is_complete, linear, linears, measure, norm, only
from hypothesis import given, settings, strategies as st
from signals_over_depth import BOTH, geometric, judge, network
from torch import nn

from init_monitor.records import History, Severity, Structure
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.rules.rule import Rule


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("seed", [0, 1])
def test_fifty_he_layers_give_no_finding(seed: int) -> None:
    torch.manual_seed(seed)
    assert judge(measure(network(50, nn.init.kaiming_normal_), torch.randn(256, 512))) == []


def test_thirty_xavier_tanh_layers_give_no_finding() -> None:
    assert judge(measure(network(30, nn.init.xavier_normal_, activation=nn.Tanh), torch.randn(256, 512))) == []


def test_normalised_layers_with_wild_weights_give_no_finding() -> None:
    modules = [m for _ in range(10) for m in (nn.Linear(64, 64), nn.LayerNorm(64), nn.ReLU())]
    for module in modules[::3]:
        nn.init.normal_(module.weight)  # type: ignore[arg-type]
    assert judge(measure(nn.Sequential(*modules), torch.randn(128, 64))) == []


def test_the_scale_of_the_input_is_not_the_networks_fault() -> None:
    assert judge(measure(network(8, nn.init.kaiming_normal_), 1e4 * torch.randn(128, 512))) == []


@pytest.mark.parametrize(
    ("growth", "severity"),
    [(9.9, None), (10.1, Severity.WARNING), (312.0, Severity.WARNING), (317.0, Severity.CRITICAL)],
)
def test_the_variance_factor_over_the_segment_decides_the_severity(growth: float, severity: Severity | None) -> None:
    # Four layers: growth^4 is 9.6e3, 1.04e4, 9.5e9 and 1.01e10.
    past = history(linears(4), {Quantity.VARIANCE: geometric(4, growth), Quantity.GAIN: growth})
    assert [f.severity for f in judge(past)] == ([severity] if severity else [])


@pytest.mark.parametrize("rule", BOTH)
def test_exact_numbers_of_a_geometric_profile(rule: Rule) -> None:
    growth = 16.0 if rule.code == "IM101" else 1 / 16
    structure = linears(5)
    past = history(
        structure,
        {Quantity.VARIANCE: geometric(5, growth), Quantity.GAIN: growth, Quantity.ABS_MAX: [4.0**i for i in range(5)]},
    )
    finding = only(rule.judge(past))
    assert finding.evidence["growth_per_layer"] == pytest.approx(growth)
    assert finding.evidence["total_growth"] == pytest.approx(growth**5)
    assert finding.evidence["worst_gain"] == growth
    assert finding.evidence["abs_max"] == 256.0
    assert finding.layers == structure.names
    if rule.code == "IM101":
        # 256 · 4^n > 3.4028e38 for n = ceil(log4(1.329e36)) = 60
        assert finding.evidence["layers_to_limit"] == 60.0
        assert finding.evidence["depth_at_limit"] == 65.0
        assert "grows 16× per layer from net.0 to net.4" in finding.message


def test_without_a_measured_input_the_gain_of_the_weights_stands_in() -> None:
    past = history(linears(5), {Quantity.VARIANCE: geometric(5, 16.0), Quantity.EXPECTED_GAIN: 16.0})
    assert only(judge(past)).evidence["worst_gain"] == 16.0


def test_fewer_than_four_layers_say_nothing_about_depth() -> None:
    assert judge(history(linears(3), {Quantity.VARIANCE: geometric(3, 1e4), Quantity.GAIN: 1e4})) == []


def test_a_normalisation_starts_a_new_segment() -> None:
    layers = [linear(0, "a.0"), linear(1, "a.1"), norm(2, "n"), linear(3, "a.3"), linear(4, "a.4")]
    variance = [1e3, 1e6, math.nan, 1e3, 1e6]
    assert judge(history(Structure(in_a_row(layers)), {Quantity.VARIANCE: variance})) == []
    plain = Structure(in_a_row(layer for layer in layers if layer.name != "n"))
    one = history(plain, {Quantity.VARIANCE: [1e3, 1e6, 1e9, 1e12]})
    assert only(judge(one)).code == "IM101"


def test_a_layer_followed_by_an_unwatched_normalisation_ends_its_segment() -> None:
    structure = Structure(tuple(replace(layer, normalised=True) for layer in linears(8).layers))
    assert judge(history(structure, {Quantity.VARIANCE: geometric(8, 100.0), Quantity.GAIN: 100.0})) == []


def test_parallel_layers_share_a_level() -> None:
    # One layer feeds four heads, far apart in size: that is no chain.
    layers = [linear(0, "trunk"), *(linear(i, f"head.{i}", inputs=("trunk",)) for i in range(1, 5))]
    past = history(Structure(tuple(layers)), {Quantity.VARIANCE: [1.0, 1e3, 1e6, 1e9, 1e12]})
    assert judge(past) == []


def test_nothing_measured_is_nothing_found() -> None:
    assert judge(history(linears(6), {})) == []
    assert judge(history(Structure(), {})) == []


def test_layers_the_record_does_not_have_are_left_out() -> None:
    past = history(linears(6), {Quantity.VARIANCE: geometric(6, 100.0)})
    more = Structure((*past.structure.layers, linear(6, "late", inputs=("net.5",))))
    assert only(judge(History(past.records, more))).code == "IM101"


@pytest.mark.parametrize("growth", [100.0, 0.01])
def test_every_finding_is_complete(growth: float) -> None:
    finding = only(judge(history(linears(6), {Quantity.VARIANCE: geometric(6, growth), Quantity.GAIN: growth})))
    is_complete(finding)


profiles = st.lists(st.floats(-8, 8), min_size=4, max_size=24)


@given(profiles, st.integers(-40, 40))
def test_scaling_every_activation_changes_no_verdict_on_growth(logs: list[float], power: int) -> None:
    variance = np.exp(np.array(logs))
    gain = np.append(1.0, variance[1:] / variance[:-1])

    def verdict(scale: float) -> list[tuple[object, ...]]:
        past = history(linears(len(logs)), {Quantity.VARIANCE: variance * scale, Quantity.GAIN: gain})
        return [(f.code, f.severity, f.layers) for f in judge(past)]

    assert verdict(1.0) == verdict(2.0**power)


@given(st.integers(4, 200), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_a_flat_profile_with_noise_is_never_a_finding(depth: int, seed: int) -> None:
    # Width 512: a log variance that walks with sqrt(5/512) per layer, plus measuring noise of 10 %.
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(-2.5 / 512, math.sqrt(5 / 512), depth)) + rng.normal(0, 0.1, depth)
    assert judge(history(linears(depth), {Quantity.VARIANCE: np.exp(walk), Quantity.GAIN: 1.0})) == []


@given(st.integers(4, 30), st.floats(1.0, 1e6), st.floats(1.0, 1e6), st.booleans())
def test_faster_growth_is_never_less_severe(depth: int, a: float, b: float, shrink: bool) -> None:  # noqa: FBT001
    def rank(growth: float) -> int:
        factor = 1 / growth if shrink else growth
        found = judge(history(linears(depth), {Quantity.VARIANCE: geometric(depth, factor), Quantity.GAIN: factor}))
        return max((f.severity.rank for f in found), default=-1)

    assert rank(min(a, b)) <= rank(max(a, b))


@given(profiles)
def test_judging_twice_says_the_same(logs: list[float]) -> None:
    past = history(linears(len(logs)), {Quantity.VARIANCE: np.exp(logs), Quantity.GAIN: 3.0})
    before = past.last.column(Quantity.VARIANCE).copy()
    assert judge(past) == judge(past)
    assert np.array_equal(before, past.last.column(Quantity.VARIANCE))
