"""IM402: residual branches that add nothing and do not begin to."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from builders import chain, linear, norm, only, parameter, record
from hypothesis import given, strategies as st
from silent_blocks import DENSE, NO_GRADIENT, SAMPLED, quiet, silent
from torch import nn

import init_monitor
from init_monitor.analysis import residual_branches
from init_monitor.analysis.rising import rising_share
from init_monitor.records import Finding, History, Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import SilentBranch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.rules.rule import Rule


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_a_zero_initialised_branch_is_healthy_at_step_0_and_during_the_dense_start() -> None:
    assert quiet(silent(steps=(0,))) == []
    assert quiet(silent(steps=DENSE)) == []
    assert quiet(silent(steps=DENSE, gradient=NO_GRADIENT)) == []


def test_a_branch_that_never_wakes_but_gets_gradients_is_information() -> None:
    finding = only(quiet(silent(1e-9)))
    assert (finding.code, finding.rule, finding.severity) == ("IM402", "silent-branch", Severity.INFO)
    assert finding.layers == ("net.0#1",)
    assert {name: float(figure) for name, figure in finding.evidence.items()} == {
        "variance_ratio": 1e-9,
        "records": 12,
        "steps": 100,
        "rising_pairs": 0.0,
    }
    assert "has been 1e-9 or less for 100 steps, and is not rising" in finding.message
    assert "larger start" in finding.remedy


def test_a_branch_whose_weights_get_no_gradient_cannot_wake_and_is_a_warning() -> None:
    finding = only(quiet(silent(gradient=NO_GRADIENT)))
    assert finding.severity is Severity.WARNING
    assert "It cannot grow: the gradient of its weights is exactly 0." in finding.message
    assert "model.net[0].first.weight" in finding.remedy_code
    assert "second" not in finding.remedy_code


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ((0, *range(94, 100)), 0),  # seven records
        ((0, *range(93, 100)), 0),  # eight, but 99 steps
        ((0, *range(94, 101)), 1),  # eight, 100 steps
        ((0, 50, 100), 0),
        ((1000, *range(1094, 1101)), 1),  # resumed from a checkpoint
    ],
)
def test_it_takes_eight_records_and_a_hundred_steps(steps: Sequence[int], found: int) -> None:
    assert len(quiet(silent(steps=steps))) == found


@pytest.mark.parametrize("pace", [1.0001, 1.1, 3.0])
def test_a_layer_scale_that_slowly_wakes_is_healthy(pace: float) -> None:
    ratios = [1e-12 * pace**i for i in range(len(SAMPLED))]
    assert quiet(silent(ratios)) == []


def test_a_branch_that_leaves_exact_zero_is_waking() -> None:
    assert quiet(silent([0.0] * 4 + [1e-20 * 2**i for i in range(8)])) == []


def test_a_ratio_that_only_fluctuates_is_not_rising() -> None:
    rng = np.random.default_rng(0)
    assert len(quiet(silent(list(1e-9 * np.exp(rng.normal(0, 0.1, 12)))))) == 1


def test_a_branch_that_spoke_in_between_has_not_been_silent() -> None:
    ratios = [0.0] * 12
    ratios[6] = 0.1
    assert quiet(silent(ratios)) == []


def test_a_branch_that_falls_silent_for_good_is_found_a_hundred_steps_later() -> None:
    steps = tuple(range(0, 400, 20))
    assert quiet(silent([0.5] * 14 + [1e-8] * 6, steps)) == []
    assert only(quiet(silent([0.5] * 8 + [1e-8] * 12, steps))).evidence["records"] == 12.0


def test_steps_without_an_update_give_no_chance_to_wake() -> None:
    assert quiet(silent(stepped=False)) == []


def test_a_record_that_could_not_measure_the_branch_neither_counts_nor_resets() -> None:
    ratios = [0.0] * 12
    ratios[5] = math.nan
    assert only(quiet(silent(ratios))).evidence["records"] == 11.0
    assert quiet(silent(math.nan)) == []


def test_an_addition_that_is_skipped_now_is_not_judged_now() -> None:
    past = silent()
    other = chain(2, prefix="other")
    assert quiet(History([*past.records, record(other, {}, step=150)], past.structure)) == []


def test_a_branch_at_which_no_gradient_arrives_is_a_warning() -> None:
    finding = only(quiet(silent(columns={Quantity.RESIDUAL_BRANCH_GRADIENT_VAR: [0.0, 1.0]})))
    assert finding.severity is Severity.WARNING
    assert "no gradient arrives at it" in finding.message
    assert "detach()" in finding.remedy


@pytest.mark.parametrize("update", [0.0, math.nan])
def test_weights_that_no_optimizer_changes_are_a_warning(update: float) -> None:
    finding = only(quiet(silent(update=(update, update, 1e-3, 1e-3))))
    assert finding.severity is Severity.WARNING
    assert "no optimizer changes them" in finding.message
    assert "Pass the parameters of these branches to the optimizer" in finding.remedy


def test_where_nothing_moves_the_branch_is_not_singled_out() -> None:
    assert only(quiet(silent(update=0.0))).severity is Severity.INFO
    assert only(quiet(silent(update=math.nan))).severity is Severity.INFO


def test_frozen_weights_are_no_warning() -> None:
    assert only(quiet(silent(gradient=(math.nan, math.nan, 1.0, 1.0)))).severity is Severity.INFO


def test_a_factor_in_front_that_still_learns_is_no_warning() -> None:
    past = silent(gradient=NO_GRADIENT, columns={Quantity.RESIDUAL_LOSS_DECREASE: [1e-9, 1.0]})
    assert only(quiet(past)).severity is Severity.INFO


def test_the_gradient_of_a_projection_is_not_the_branches() -> None:
    structure = chain(2)
    shortcut = linear(9, "net.0.map")
    normalised = norm(10, "net.0.norm", inputs=("net.0.map",))
    first = replace(
        structure.residuals[0],
        kind="projection",
        skip="net.0.norm",
        layers=(*structure.residuals[0].layers, "net.0.map", "net.0.norm"),
    )
    projected = Structure((*structure.layers, shortcut, normalised), (first, structure.residuals[1]))
    assert [layer.name for layer in residual_branches.layers_of(first, projected)] == ["net.0.first", "net.0.second"]
    past = silent(structure=projected, gradient=(*NO_GRADIENT, 1.0))
    assert only(quiet(past)).severity is Severity.WARNING


def test_the_layers_to_initialise_anew_are_those_that_are_zero() -> None:
    structure = chain(2)
    gain = norm(9, "net.0.norm", weight="net.0.norm.weight", bias="net.0.norm.bias")
    first = replace(structure.residuals[0], layers=("net.0.norm", *structure.residuals[0].layers))
    with_norm = Structure((gain, *structure.layers), (first, structure.residuals[1]))
    norms = [0.0, 1.0, 0.0, 1.0, 1.0]  # the normalisation's and the last layer's
    past = silent(structure=with_norm, gradient=(0.0, *NO_GRADIENT), columns={Quantity.WEIGHT_NORM: norms})
    code = only(quiet(past)).remedy_code
    assert "nn.init.ones_(model.net[0].norm.weight)" in code
    assert "first" not in code
    assert "second" not in code


def test_silent_branches_of_one_kind_are_one_finding() -> None:
    structure = chain(5)
    records = [
        record(
            structure,
            {
                Quantity.RESIDUAL_VARIANCE_RATIO: [0.0, 0.0, 0.0, 1.0, 1e-9],
                Quantity.WEIGHT_GRADIENT_NORM: [0.0] * 6 + [1.0] * 4,
            },
            step=step,
        )
        for step in SAMPLED
    ]
    found = quiet(History(records, structure))
    assert [(f.severity, f.layers) for f in found] == [
        (Severity.WARNING, ("net.0#1", "net.1#1", "net.2#1")),
        (Severity.INFO, ("net.4#1",)),
    ]


def test_the_share_of_rising_pairs_is_what_counting_gives() -> None:
    values = np.random.default_rng(1).integers(0, 5, 9).astype(float)
    pairs = [(i, j) for j in range(9) for i in range(j)]
    assert rising_share(values) == sum(values[j] > values[i] for i, j in pairs) / len(pairs)
    assert rising_share(np.ones(1)) == 0.0


@given(st.lists(st.floats(1e-30, 9e-7), min_size=12, max_size=12, unique=True))
def test_a_growing_ratio_is_never_a_finding_and_a_falling_one_always(ratios: list[float]) -> None:
    assert quiet(silent(sorted(ratios))) == []
    assert len(quiet(silent(sorted(ratios, reverse=True)))) == 1


@given(st.lists(st.floats(1e-6, 1e6), min_size=12, max_size=12), st.booleans())
def test_a_branch_that_is_heard_is_never_a_finding(ratios: list[float], stuck: bool) -> None:  # noqa: FBT001
    assert quiet(silent(ratios, gradient=NO_GRADIENT if stuck else 1.0)) == []


def test_many_stuck_branches_leave_the_healthy_layers_alone() -> None:
    structure = chain(20)
    columns = {
        Quantity.RESIDUAL_VARIANCE_RATIO: [0.0] * 15 + [1.0] * 5,
        Quantity.WEIGHT_GRADIENT_NORM: [0.0] * 30 + [1.0] * 10,
        Quantity.WEIGHT_NORM: [0.0] * 30 + [1.0] * 10,
    }
    code = only(quiet(History([record(structure, columns, step=step) for step in SAMPLED], structure))).remedy_code
    model = nn.Module()
    model.net = nn.ModuleList(Gated() for _ in range(20))
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    exec(compile(code, "remedy", "exec"), {"model": model})  # noqa: S102 - what a user is asked to paste
    started = [name for name, weight in model.named_parameters() if bool(weight.detach().any())]
    assert started == [f"net.{i}.first.weight" for i in range(15)]


class Gated(nn.Module):
    """``x + γ · second(relu(first(x)))`` without biases."""

    def __init__(self, gamma: float | None = None, width: int = 16) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.gamma = 1.0 if gamma is None else nn.Parameter(torch.full((width,), gamma))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch: torch.Tensor = self.second(torch.relu(self.first(x)))
        return x + self.gamma * branch


def train(model: nn.Module, steps: int = 101) -> list[Finding]:
    """Train on a fixed random batch, and return what IM402 said."""
    x, y = torch.randn(64, 16), torch.randn(64, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    rules: tuple[Rule, ...] = (SilentBranch(),)
    with init_monitor.watch(model, optimizer=optimizer, rules=rules, sinks=(), strict=True) as monitor:
        for _ in range(steps):
            with monitor.step():
                loss = (model(x) - y).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return monitor.findings


def test_two_zero_layers_in_a_row_never_wake_and_the_code_of_the_finding_wakes_them() -> None:
    model = nn.Sequential(Gated(), Gated(), nn.Linear(16, 1))
    for name in ("1.first", "1.second"):
        nn.init.zeros_(model.get_parameter(f"{name}.weight"))
    finding = only(train(model))
    assert (finding.severity, finding.layers, finding.step) == (Severity.WARNING, ("1#1",), 100)
    exec(compile(finding.remedy_code, "remedy", "exec"), {"model": model})  # noqa: S102 - what a user is asked to paste
    assert float(parameter(model, "1.first.weight").std()) > 0
    assert float(parameter(model, "1.second.weight").abs().max()) == 0
    assert train(model) == []
    assert float(parameter(model, "1.second.weight").abs().max()) > 0


@pytest.mark.parametrize("gamma", [None, 0.0, 1e-6])
def test_a_branch_that_starts_at_zero_wakes_and_is_healthy(gamma: float | None) -> None:
    model = nn.Sequential(Gated(gamma), Gated(gamma), nn.Linear(16, 1))
    if gamma is None:
        for name in ("0.second", "1.second"):
            nn.init.zeros_(model.get_parameter(f"{name}.weight"))
    assert train(model) == []
