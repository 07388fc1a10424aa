from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from builders import history, in_a_row, linear, linears, measure, norm, only, parameter
from hypothesis import given, settings, strategies as st
from models import Block, add
from torch import nn

import init_monitor
from init_monitor.analysis.residual_correction import by_additions
from init_monitor.records import Finding, History, Residual, Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import ExplodingActivations, VanishingActivations

if TYPE_CHECKING:
    from init_monitor.rules.rule import Rule

BOTH = (ExplodingActivations(), VanishingActivations())


def judge(past: History) -> list[Finding]:
    return [finding for rule in BOTH for finding in rule.judge(past)]


def geometric(count: int, growth: float, *, start: float = 1.0) -> list[float]:
    return [start * growth**i for i in range(1, count + 1)]


def network(
    depth: int, initialise: object, *, activation: type[nn.Module] | None = nn.ReLU, width: int = 512
) -> nn.Sequential:
    modules: list[nn.Module] = []
    for i in range(depth):
        layer = nn.Linear(width, width)
        initialise(layer.weight)  # type: ignore[operator]
        nn.init.zeros_(layer.bias)
        modules.append(layer)
        if activation is not None and i < depth - 1:
            modules.append(activation())
    return nn.Sequential(*modules)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("activation", "growth", "gain"), [(None, 512, 1), (nn.ReLU, 256, 2)])
def test_standard_normal_weights_of_width_512_explode_by_the_width_per_layer(
    activation: type[nn.Module] | None, growth: float, gain: float
) -> None:
    past = measure(network(10, nn.init.normal_, activation=activation), torch.randn(256, 512))
    finding = only(judge(past))
    assert (finding.code, finding.rule, finding.severity) == ("IM101", "exploding-activations", Severity.CRITICAL)
    assert finding.evidence["growth_per_layer"] == pytest.approx(growth, rel=0.05)
    assert finding.evidence["worst_gain"] == pytest.approx(512, rel=0.15)
    assert finding.evidence["gain_from_weights"] == pytest.approx(512, rel=0.02)
    assert finding.expected["growth_per_layer"] == 1.0
    assert finding.expected["worst_gain"] in {1, gain}
    assert len(finding.layers) == 10
    assert finding.step == 0


def test_fifty_xavier_relu_layers_vanish_by_half_per_layer() -> None:
    finding = only(judge(measure(network(50, nn.init.xavier_normal_), torch.randn(256, 512))))
    assert (finding.code, finding.severity) == ("IM102", Severity.CRITICAL)
    assert finding.evidence["growth_per_layer"] == pytest.approx(0.5, rel=0.05)
    assert finding.expected["worst_gain"] == 2.0
    assert "He et al." in finding.source
    assert 45 <= len(finding.layers) <= 49


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


def test_one_layer_with_far_too_large_weights_is_the_only_one_blamed() -> None:
    model = network(20, nn.init.kaiming_normal_, width=128)
    with torch.no_grad():
        parameter(model[10]).mul_(1000)
    finding = only(judge(measure(model, torch.randn(128, 128))))
    assert (finding.code, finding.layers) == ("IM101", ("10",))
    assert finding.evidence["worst_gain"] == pytest.approx(2e6, rel=0.6)
    assert "at one place" in finding.message


def test_all_zero_weights_are_a_signal_that_stops_at_the_first_layer() -> None:
    finding = only(judge(measure(network(6, nn.init.zeros_, width=16), torch.randn(64, 16))))
    assert (finding.code, finding.severity) == ("IM102", Severity.CRITICAL)
    assert finding.layers == ("0", "2", "4", "6", "8", "10")
    assert finding.message.startswith("The signal stops at 0:")


def test_a_head_of_zeros_is_a_healthy_start() -> None:
    model = network(6, nn.init.kaiming_normal_, width=64)
    nn.init.zeros_(parameter(model[-1]))
    assert judge(measure(model, torch.randn(64, 64))) == []


def test_a_layer_whose_units_are_all_off_is_blamed_for_the_silence_after_it() -> None:
    model = network(6, nn.init.kaiming_normal_, width=64)
    nn.init.constant_(parameter(model[2], "bias"), -100)
    finding = only(judge(measure(model, torch.randn(64, 64))))
    assert finding.layers == ("2",)
    assert "stops between 2 and 4" in finding.message


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


def test_the_first_layer_is_judged_by_its_gain() -> None:
    # The outputs alone grow 10^3-fold over three steps; the first layer's own gain of 10^7 makes it far more.
    variance = [1e7, 1e7, 1e7, 1e7]
    past = history(linears(4), {Quantity.VARIANCE: variance, Quantity.GAIN: [1e7, 1.0, 1.0, 1.0]})
    finding = only(judge(past))
    assert finding.layers == ("net.0",)
    assert finding.evidence["total_growth"] == pytest.approx(1e7)


def test_a_bias_on_a_faint_input_is_not_growth() -> None:
    columns = {Quantity.VARIANCE: 1e-3, Quantity.GAIN: [1e9, 1.0, 1.0, 1.0], Quantity.EXPECTED_GAIN: 1.0}
    assert judge(history(linears(4), columns)) == []


def test_layers_of_good_gain_leave_the_blame_to_the_segment_and_name_the_additions() -> None:
    structure = linears(20)
    grown = Structure(structure.layers, (Residual("#1", "", "identity", "net.0", "net.1"),))
    past = history(grown, {Quantity.VARIANCE: geometric(20, 2.0), Quantity.GAIN: 1.0})
    finding = only(judge(past))
    assert finding.layers == structure.names
    assert "No single layer is off" in finding.message
    assert "residual" in finding.remedy_sentence
    assert "nn.init.zeros_(model.net[1].weight)" in finding.remedy_code


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


@pytest.mark.parametrize(("abs_max", "fires"), [(30000.0, False), (40000.0, True), (math.inf, True)])
def test_overflow_in_reach_is_critical_even_in_a_short_segment(abs_max: float, *, fires: bool) -> None:
    past = history(linears(1, dtype="float16"), {Quantity.VARIANCE: 1.0, Quantity.ABS_MAX: abs_max, Quantity.GAIN: 1.5})
    findings = judge(past)
    assert [f.severity for f in findings] == ([Severity.CRITICAL] if fires else [])


def test_overflow_in_reach_names_the_layer_and_its_numbers() -> None:
    # A layer before a normalisation: no gain is asked of it, and no slope goes through it.
    structure = Structure((linear(0, "a", normalised=True, dtype="float16"), norm(1, "n"), linear(2, "b")))
    past = history(structure, {Quantity.VARIANCE: 1.0, Quantity.ABS_MAX: [50000.0, 3.0, 3.0]})
    finding = only(judge(past))
    assert finding.layers == ("a",)
    assert "The output of a reaches 50,000, and float16 ends at 65,500" in finding.message
    assert "bfloat16" in finding.remedy


def test_float16_makes_critical_what_float32_lets_pass_as_a_warning() -> None:
    columns = {
        Quantity.VARIANCE: geometric(5, 16.0),
        Quantity.GAIN: 16.0,
        Quantity.ABS_MAX: [4.0 * 4.0**i for i in range(1, 6)],  # 4096 at the end: overflows two layers later
    }
    assert only(judge(history(linears(5, dtype="float32"), columns))).severity is Severity.WARNING
    half = only(judge(history(linears(5, dtype="float16"), columns)))
    assert half.severity is Severity.CRITICAL
    # 4096 · 4^2 = 65536 > 65504
    assert half.evidence["layers_to_limit"] == 2.0
    assert "float16" in half.message


def test_float16_loses_a_signal_that_float32_still_holds() -> None:
    columns = {Quantity.VARIANCE: geometric(5, 1 / 16), Quantity.GAIN: 1 / 16}
    assert only(judge(history(linears(5), columns))).severity is Severity.WARNING
    half = only(judge(history(linears(5, dtype="float16"), columns)))
    # rms 2^-10 at the end; below 2^-14 after 2 further layers, and 2 is fewer than the present 5
    assert (half.severity, half.evidence["layers_to_limit"]) == (Severity.CRITICAL, 2.0)


def test_a_variance_that_has_overflowed_counts_as_overflow_reached() -> None:
    past = history(linears(6), {Quantity.VARIANCE: [*geometric(5, 1e8), math.inf], Quantity.GAIN: 1e8})
    finding = only(judge(past))
    assert (finding.severity, finding.evidence["layers_to_limit"]) == (Severity.CRITICAL, 0.0)
    assert "It has passed the largest float32 number" in finding.message


def test_nothing_measured_is_nothing_found() -> None:
    assert judge(history(linears(6), {})) == []
    assert judge(history(Structure(), {})) == []


def test_layers_the_record_does_not_have_are_left_out() -> None:
    past = history(linears(6), {Quantity.VARIANCE: geometric(6, 100.0)})
    more = Structure((*past.structure.layers, linear(6, "late", inputs=("net.5",))))
    assert only(judge(History(past.records, more))).code == "IM101"


def test_two_bad_parts_are_one_finding() -> None:
    second = [replace(x, name=f"b.{i}") for i, x in enumerate(linears(4).layers)]
    structure = Structure(in_a_row((*linears(4).layers, norm(4, "n"), *second)))
    variance = [*geometric(4, 20.0), math.nan, *geometric(4, 30.0)]
    gain = [*[20.0] * 4, math.nan, *[30.0] * 4]
    finding = only(judge(history(structure, {Quantity.VARIANCE: variance, Quantity.GAIN: gain})))
    assert len(finding.layers) == 8
    assert finding.evidence["growth_per_layer"] == pytest.approx(30)
    assert "1 other part" in finding.message


@pytest.mark.parametrize("growth", [100.0, 0.01])
def test_every_finding_is_complete(growth: float) -> None:
    finding = only(judge(history(linears(6), {Quantity.VARIANCE: geometric(6, growth), Quantity.GAIN: growth})))
    assert finding.message
    assert finding.source
    assert finding.remedy_sentence
    compile(finding.remedy_code, "remedy", "exec")
    assert set(finding.expected) <= set(finding.evidence)
    assert all(type(v).__name__ == "Figure" for v in (*finding.evidence.values(), *finding.expected.values()))


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


def test_growth_that_residual_additions_bring_is_no_layers_fault() -> None:
    """Measured on a real network: the stream doubles per block, and every layer keeps the variance it gets."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(*[Block(128, add) for _ in range(20)])
    report = init_monitor.check(net, torch.randn(256, 128), strict=True)
    record, structure = report.records[0], report.structure
    assert [finding.code for finding in report.findings] == ["IM401"]
    forward, backward = by_additions(record, structure)
    firsts = [i for i, layer in enumerate(structure.layers) if layer.name.endswith("first")]
    grown = np.log(record.column(Quantity.VARIANCE))[firsts]
    assert grown[-1] - grown[0] > 10
    assert np.abs(grown - grown[0] - forward[firsts]).max() < 1
    fell = np.log(record.column(Quantity.GRADIENT_VARIANCE))[firsts]
    assert fell[0] - fell[-1] > 10
    assert np.abs((fell - backward[firsts]) - fell[-1]).max() < 1


class Faint(nn.Module):
    """What its map makes of x is almost nothing beside x, which passes it by."""

    def __init__(self, width: int, *, std: float, normalise: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if normalise else nn.Identity()
        self.map = nn.Linear(width, width)
        nn.init.normal_(self.map.weight, std=std)
        nn.init.zeros_(self.map.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        summed: torch.Tensor = x + self.map(self.norm(x))
        return summed


@pytest.mark.parametrize("std", [1e-4, 1e-7])
def test_a_branch_that_starts_faint_beside_its_skip_is_no_fading_even_where_it_begins_a_segment(std: float) -> None:
    # The normalisation begins a segment, whose first layer has a gain that is far off on purpose.
    net = nn.Sequential(Faint(64, std=std, normalise=True), *(Faint(64, std=std) for _ in range(4)))
    found = init_monitor.check(net, torch.randn(256, 64)).findings
    assert [finding for finding in found if finding.code == "IM102"] == []
