from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import history, in_a_row, linear, linears, measure, norm, only, parameter, record
from models import Block, add
from signals_over_depth import geometric, judge, network
from torch import nn

import init_monitor
from init_monitor.analysis.residual_correction import by_additions
from init_monitor.records import History, LossCurve, LossStretch, Residual, Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import ExplodingActivations


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


def test_one_layer_with_far_too_large_weights_is_the_only_one_blamed() -> None:
    model = network(20, nn.init.kaiming_normal_, width=128)
    with torch.no_grad():
        parameter(model[10]).mul_(1000)
    finding = only(judge(measure(model, torch.randn(128, 128))))
    assert (finding.code, finding.layers) == ("IM101", ("10",))
    assert finding.evidence["worst_gain"] == pytest.approx(2e6, rel=0.6)
    assert "at one place" in finding.message


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
    grown = Structure(structure.layers, (Residual("#1", "", "identity", "net.0", "net.1", layers=("net.1",)),))
    past = history(grown, {Quantity.VARIANCE: geometric(20, 2.0), Quantity.GAIN: 1.0})
    finding = only(judge(past))
    assert finding.layers == structure.names
    assert "No single layer is off" in finding.message
    assert "residual" in finding.remedy_sentence
    assert "nn.init.zeros_(model.net[1].weight)" in finding.remedy_code


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


def test_a_variance_that_has_overflowed_counts_as_overflow_reached() -> None:
    past = history(linears(6), {Quantity.VARIANCE: [*geometric(5, 1e8), math.inf], Quantity.GAIN: 1e8})
    finding = only(judge(past))
    assert (finding.severity, finding.evidence["layers_to_limit"]) == (Severity.CRITICAL, 0.0)
    assert "It has passed the largest float32 number" in finding.message


def test_two_bad_parts_are_one_finding() -> None:
    second = [replace(x, name=f"b.{i}") for i, x in enumerate(linears(4).layers)]
    structure = Structure(in_a_row((*linears(4).layers, norm(4, "n"), *second)))
    variance = [*geometric(4, 20.0), math.nan, *geometric(4, 30.0)]
    gain = [*[20.0] * 4, math.nan, *[30.0] * 4]
    finding = only(judge(history(structure, {Quantity.VARIANCE: variance, Quantity.GAIN: gain})))
    assert len(finding.layers) == 8
    assert finding.evidence["growth_per_layer"] == pytest.approx(30)
    assert "1 other part" in finding.message


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


def test_a_fault_at_one_place_is_told_there_and_one_of_the_whole_chain_is_not() -> None:
    # A factor that no weights make, between the sixth layer and the seventh.
    jump = only(judge(history(linears(12), {Quantity.VARIANCE: [1.0] * 6 + [1e8] * 6, Quantity.GAIN: 1.0})))
    assert jump.layers == ("net.6",)
    assert "grows at one place, net.6, from net.0 to net.11" in jump.message
    assert "At this pace" not in jump.message
    assert "growth_per_layer" not in jump.evidence
    # Two layers are off, one of them by three quarters of the whole.
    gains = np.array([1.0] * 3 + [1e10] + [1.0] * 4 + [1e3] + [1.0] * 3)
    two = only(judge(history(linears(12), {Quantity.VARIANCE: np.cumprod(gains), Quantity.GAIN: gains})))
    assert two.layers == ("net.3", "net.8")
    assert "at one place" not in two.message


@pytest.mark.parametrize(("falls", "severity"), [(True, Severity.INFO), (False, Severity.WARNING)])
def test_what_grew_in_a_run_that_learns_well_is_information(severity: Severity, *, falls: bool) -> None:
    structure = linears(8)
    quiet = {Quantity.VARIANCE: 1.0, Quantity.MEAN_SQUARE: 1.0, Quantity.ABS_MAX: 4.0}
    levels = 5.0 ** np.arange(8)
    grown = {Quantity.VARIANCE: levels, Quantity.MEAN_SQUARE: levels, Quantity.ABS_MAX: 4 * np.sqrt(levels)}
    curve = LossCurve()
    curve.add(LossStretch.of((step, 2.3 * 0.98**step if falls else 2.3) for step in range(200)))
    records = (record(structure, quiet, step=0), record(structure, grown, step=199))
    finding = only(ExplodingActivations().judge(History(records, structure, losses=curve)))
    assert finding.severity is severity


def test_layers_that_were_off_at_the_start_stay_the_cause_of_what_steps_make_of_the_others() -> None:
    structure = linears(8)
    gain = np.ones(8)
    gain[3] = 2e4
    begun = {Quantity.VARIANCE: np.cumprod(gain), Quantity.GAIN: gain, Quantity.EXPECTED_GAIN: gain}
    after = np.where(gain > 1, gain, 60.0)
    grown = {Quantity.VARIANCE: np.cumprod(after), Quantity.GAIN: after, Quantity.EXPECTED_GAIN: after}
    first, last = record(structure, begun, step=0), record(structure, grown, step=2)
    assert only(judge(History([first], structure))).layers == (structure.layers[3].name,)
    assert only(judge(History([first, last], structure))).layers == (structure.layers[3].name,)
    assert len(only(judge(History([last], structure))).layers) == 8


def test_a_faint_signal_that_comes_back_towards_1_is_not_growth() -> None:
    structure = linears(8)
    columns = {Quantity.VARIANCE: np.geomspace(1e-12, 1e-4, 8), Quantity.GAIN: 10.0}
    assert judge(history(structure, {**columns, Quantity.ABS_MAX: 0.03})) == []
    assert only(judge(history(structure, {**columns, Quantity.ABS_MAX: 3.0}))).code == "IM101"
    assert only(judge(history(structure, columns))).code == "IM101"
