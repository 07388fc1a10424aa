from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from builders import history, linear, linears, norm, only, parameter, record
from hypothesis import given, strategies as st
from models import Classifier, fit, loader, mlp
from torch import nn

from init_monitor import InitMonitor, Severity, Structure, check
from init_monitor.records import History, Residual
from init_monitor.records.quantities import Quantity
from init_monitor.rules import ExplodingActivations, InitMismatch, VanishingActivations
from init_monitor.rules.engine import Engine

if TYPE_CHECKING:
    from init_monitor.records import Finding
    from init_monitor.rules.rule import Rule

THREE = linears(3, activation="ReLU")
"""Two ReLU layers, which need a gain of 2, and an output, which needs 1."""


def judge(gains: Any, structure: Structure = THREE, **more: Any) -> list[Finding]:
    """Judge a first record of these gains, which the weights give and the signal shows."""
    given = {Quantity.EXPECTED_GAIN: gains, Quantity.GAIN: gains} | {Quantity(k): v for k, v in more.items()}
    return list(InitMismatch().judge(history(structure, given)))


def test_weights_far_too_large_in_a_short_network_are_named_with_the_gain_they_need() -> None:
    finding = only(judge([64.0, 64.0, 1.0]))
    assert (finding.code, finding.rule, finding.severity) == ("IM502", "init-mismatch", Severity.WARNING)
    assert finding.layers == ("net.0", "net.1")
    assert "those of net.0 multiply the variance of the signal by 64, where 2 keeps it with ReLU after it" in (
        finding.message
    )
    assert "Together these layers make it 1,020× too large" in finding.message
    assert finding.evidence["gain_from_weights"] == 64.0
    assert finding.expected["gain_from_weights"] == 2.0
    assert finding.evidence["total_mismatch"] == pytest.approx(1024.0)
    assert 'nn.init.kaiming_normal_(model.net[0].weight, nonlinearity="relu")' in finding.remedy_code


def test_weights_far_too_small_are_named_too_but_not_an_output_layer() -> None:
    finding = only(judge([2.0, 0.01, 1e-6]))
    assert finding.layers == ("net.1",)
    assert "far too small" in finding.message
    assert judge([2.0, 2.0, 1e-12]) == []


@pytest.mark.parametrize(
    "gains",
    [
        [2.0, 2.0, 1.0],  # He
        [1.0, 1.0, 1.0],  # Xavier
        [1 / 3, 1 / 3, 1 / 3],  # PyTorch's default
        [0.094, 1.0, 0.4],  # VGG's first layer in fan_out mode
        [2.0, 2.0, 128.0],  # fan_out mode before ten classes
        [2.0, 0.05, 1.0],  # N(0, 0.01) at width 512
        [50.0, 0.1, 0.5],  # a large layer that the next one makes up for
        [9.0, 9.0, 1.0],  # within five times of what is needed
    ],
)
def test_initialisations_in_wide_use_are_never_mentioned(gains: list[float]) -> None:
    assert judge(gains) == []


@pytest.mark.parametrize(
    ("gains", "fires"),
    [
        ([59.9, 2.0, 1.0], False),
        ([60.1, 2.0, 1.0], True),
        ([2.0, 0.0201, 1.0], False),
        ([2.0, 0.0199, 1.0], True),
        ([2.0, 2.0, 999.0], False),
        ([2.0, 2.0, 1001.0], True),
        ([0.19, 0.19, 1.0], True),
        ([0.21, 0.1, 1.0], False),
    ],
)
def test_the_thresholds_are_where_they_are_said_to_be(gains: list[float], *, fires: bool) -> None:
    assert bool(judge(gains)) is fires


def test_a_millionfold_mismatch_is_critical() -> None:
    assert only(judge([2e3, 1.9e3, 1.0])).severity is Severity.WARNING
    assert only(judge([2e3, 2.1e3, 1.0])).severity is Severity.CRITICAL


def test_a_normalisation_after_the_layer_removes_the_scale() -> None:
    layers = (linear(0, "a"), norm(1, "n", inputs=("a",)), linear(2, "b", inputs=("n",)))
    assert judge([64.0, np.nan, 1.0], Structure(layers)) == []
    assert only(judge([1.0, np.nan, 1e4], Structure(layers))).layers == ("b",)
    normalised = tuple(dataclasses.replace(x, normalised=True) for x in THREE.layers)
    assert judge([19.0, 19.0, 19.0], Structure(normalised)) == []
    # From ten times the 2 of ReLU in three layers on, the steps are too small for such weights.
    assert only(judge([20.0, 20.0, 20.0], Structure(normalised))).evidence["smaller_step"] == pytest.approx(10**0.5)


def test_a_residual_branch_may_start_as_small_as_it_likes() -> None:
    block = Residual("net#1", "net", "identity", "net.0", "net.1", layers=("net.1",), depth=2)
    assert judge([2.0, 1e-8, 1.0], Structure(THREE.layers, (block,))) == []
    assert judge([2.0, 1e-8, 1.0])


DEEP = linears(8, activation="ReLU")
AT_GAIN_40: dict[Quantity, Any] = {
    Quantity.EXPECTED_GAIN: 40.0,
    Quantity.GAIN: 40.0,
    Quantity.VARIANCE: [20.0**i * 40 for i in range(8)],
}


def told(*rules: Rule, columns: dict[Quantity, Any] = AT_GAIN_40) -> dict[str, Finding]:
    """Return what is found about eight layers of gain 40, by code."""
    return {finding.code: finding for finding in Engine(rules, strict=True).judge(history(DEEP, columns))}


def test_alone_it_names_all_eight_layers_of_gain_40() -> None:
    finding = told(InitMismatch())["IM502"]
    assert finding.severity is Severity.CRITICAL
    assert finding.layers == DEEP.names
    alone = only(InitMismatch().judge(history(DEEP, AT_GAIN_40)))
    # The engine adds what check shows after the remedy.
    assert replace(finding, remedy=alone.remedy, aim=None) == alone


@pytest.mark.parametrize("order", [1, -1])
def test_what_the_depth_rules_tell_is_left_to_them(order: int) -> None:
    every: tuple[Rule, ...] = (ExplodingActivations(), VanishingActivations(), InitMismatch())
    rules = every[::order]
    assert set(told(*rules)) == {"IM101"}
    assert told(*rules)["IM101"].layers == DEEP.names
    faint = {Quantity.EXPECTED_GAIN: 0.01, Quantity.GAIN: 0.01, Quantity.VARIANCE: [0.005**i for i in range(8)]}
    assert set(told(*rules, columns=faint)) == {"IM102"}


@pytest.mark.parametrize("loosened", [{"warning_change": 1e30, "critical_change": 1e30}, {"critical_change": 1e30}])
def test_a_depth_rule_that_says_nothing_or_less_silences_nobody(loosened: dict[str, float]) -> None:
    both = told(ExplodingActivations(**loosened), InitMismatch())  # type: ignore[arg-type]
    assert both["IM502"] == told(InitMismatch())["IM502"]
    if "IM101" in both:
        assert both["IM101"].severity is Severity.WARNING


def test_beside_a_depth_rule_it_still_names_the_layers_that_one_does_not() -> None:
    table = linear(8, "table", kind="Embedding", inputs=("input",))
    structure = Structure((*DEEP.layers, table))
    columns: dict[Quantity, Any] = {name: [*np.broadcast_to(value, 8), np.nan] for name, value in AT_GAIN_40.items()}
    columns[Quantity.WEIGHT_VARIANCE] = [*[1.0] * 8, 100.0]
    findings = Engine([ExplodingActivations(), InitMismatch()], strict=True).judge(history(structure, columns))
    depth, rest = findings
    assert depth.layers == DEEP.names
    assert rest.layers == ("table",)
    # Its numbers are about what is left, not about the eight layers.
    assert rest.severity is Severity.WARNING
    assert "net." not in rest.message


def test_a_large_weight_counts_only_if_the_signal_shows_it() -> None:
    assert judge([64.0, 64.0, 1.0], gain=[2.0, 2.0, 1.0]) == []
    # a bias on top of a faint signal looks like gain, and is none
    assert judge([2.0, 1e-4, 1.0], gain=[2.0, 5.0, 1.0])


def test_a_layer_whose_weights_are_not_known_is_not_judged_by_its_signal() -> None:
    nothing = {"expected_gain": [np.nan, 2.0, 1.0], "input_mean_square": [1e6, 1.0, 1.0]}
    assert judge([1e-6, 2.0, 1.0], linears(3), **nothing) == []
    assert judge([1e6, 2.0, 1.0], linears(3), **nothing) == []


def test_an_unknown_activation_is_granted_what_sigmoid_may_need() -> None:
    structure = linears(3, activation="Sigmoid")
    assert judge([16.0, 16.0, 1.0], structure) == []
    assert only(judge([16.0 * 31, 1.0, 1.0], structure)).expected["gain_from_weights"] == 16.0
    assert only(judge([1e-4, 1.0, 1.0], structure)).expected["gain_from_weights"] == 1.0


def test_a_factor_between_two_layers_belongs_to_the_initialisation() -> None:
    sine = linears(3)  # nothing known follows: the sine is no activation that the probe knows
    assert judge([0.002, 0.002, 1.0], sine)
    assert judge([0.002, 0.002, 1.0], sine, input_mean_square=[0.5, 0.5, 0.5]) == []
    assert judge([512.0, 512.0, 1.0], sine, input_mean_square=[1.0, 1.0, 1.0]) == []
    assert judge([512.0, 512.0, 1.0], sine, input_mean_square=[1.0, 512.0, 512.0**2])


def test_only_the_first_record_of_a_run_is_judged() -> None:
    given = {Quantity.EXPECTED_GAIN: [64.0, 64.0, 1.0]}
    healthy = {Quantity.EXPECTED_GAIN: [2.0, 2.0, 1.0]}
    rule = InitMismatch()
    assert list(rule.judge(History([record(THREE, given), record(THREE, healthy, step=5)], THREE)))
    assert not list(rule.judge(History([record(THREE, healthy), record(THREE, given, step=5)], THREE)))
    assert not list(rule.judge(History([record(THREE, given, step=5)], THREE)))
    assert not list(rule.judge(history(THREE, {})))
    for count, fires in ((10, True), (11, False)):
        assert bool(list(rule.judge(history(THREE, *[given] * count)))) is fires


@pytest.mark.parametrize(("variance", "fires"), [(1.0, False), (24.0, False), (25.0, True)])
def test_a_large_embedding_drowns_what_is_added_to_it(variance: float, *, fires: bool) -> None:
    structure = Structure((linear(0, "table", kind="Embedding", bias=""), linear(1, "head", inputs=("table",))))
    findings = judge(np.nan, structure, weight_variance=[variance, 1e-3])
    assert bool(findings) is fires
    if fires:
        assert findings[0].layers == ("table",)
        assert findings[0].remedy_code.endswith("nn.init.normal_(model.table.weight, std=1)")


@pytest.mark.parametrize(
    ("kind", "gates", "times", "fires"),
    [
        ("LSTM", 4, 1.0, False),
        ("LSTM", 4, 3.0, False),
        ("LSTM", 4, 31.0, True),
        ("LSTM", 4, 1e-2, False),
        ("GRU", 3, 1e-4, True),
        ("RNN", 1, 31.0, True),
        ("RNN", 1, 8.0, True),
        ("RNN", 1, 6.0, False),  # He's variance: 2
        ("GRU", 3, 0.0, True),
        ("RNN", 1, 0.0, True),
    ],
)
def test_a_recurrent_weight_is_judged_by_the_radius_it_has(kind: str, gates: int, times: float, *, fires: bool) -> None:
    hidden = 32
    names = ["rnn.weight_ih_l0", "rnn.weight_hh_l0"]
    layer = linear(0, "rnn", kind=kind, weight="", bias="", fan_in=0, fan_out=0, parameters=tuple(names))
    past = history(
        Structure((layer,)),
        {
            Quantity.WEIGHT_COUNT: [gates * hidden * 8, gates * hidden**2],
            Quantity.WEIGHT_VARIANCE: [9.0, times / (3 * hidden)],  # torch's default is 1/(3 · hidden)
            Quantity.WEIGHT_MEAN: [0.0, 0.0],
        },
        parameter_names=names,
    )
    assert bool(list(InitMismatch().judge(past))) is fires


@given(st.lists(st.floats(0.21, 9.9), min_size=2, max_size=3), st.floats(1e-9, 9.9))
def test_hidden_layers_within_a_factor_are_never_mentioned(hidden: list[float], output: float) -> None:
    structure = linears(len(hidden) + 1, activation="ReLU")
    assert judge([*hidden, output / 2], structure) == []


def test_a_real_training_of_a_short_network_is_told_and_its_remedy_silences_it() -> None:
    torch.manual_seed(0)
    module = Classifier(mlp(2, 64, nn.init.normal_), lr=1e-3)
    monitor = InitMonitor(sinks=(), strict=True, rules=(InitMismatch(),))
    fit(module, loader(64, samples=128), monitor, steps=4)
    finding = only(monitor.findings)
    assert (finding.step, finding.layers) == (0, ("net.0", "net.2", "net.4"))
    assert finding.evidence["gain_from_weights"] == pytest.approx(64.0, rel=0.2)
    again = Classifier(mlp(2, 64, nn.init.normal_), lr=1e-3)
    exec(compile(finding.remedy_code, "remedy", "exec"), {"model": again})  # noqa: S102 - the code a user is to paste
    assert float(parameter(again.net.get_submodule("0")).var()) == pytest.approx(2 / 64, rel=0.2)
    monitor = InitMonitor(sinks=(), strict=True, rules=(InitMismatch(),))
    fit(again, loader(64, samples=128), monitor, steps=4)
    assert monitor.findings == []


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU])
@pytest.mark.parametrize("init", [None, nn.init.kaiming_normal_, nn.init.xavier_normal_])
def test_usual_initialisations_are_silent_before_every_activation(activation: Any, init: Any) -> None:
    torch.manual_seed(0)
    report = check(mlp(3, 64, init, activation=activation), torch.randn(32, 64), rules=(InitMismatch(),))
    assert report.findings == ()
