from __future__ import annotations

import math

import numpy as np
import pytest
from builders import history, in_a_row, linear, linears, only
from gradients_over_depth import LAYERS, backward, judge, past, updates
from hypothesis import given, settings, strategies as st

from init_monitor.records import Severity, Structure
from init_monitor.records.quantities import Quantity

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL


@pytest.mark.parametrize(("growth", "code"), [(16.0, "IM201"), (1 / 16, "IM202")])
def test_exact_numbers_of_a_geometric_profile(growth: float, code: str) -> None:
    finding = only(judge(past(growth)))
    assert finding.code == code
    assert finding.evidence["growth_per_layer"] == pytest.approx(growth)
    assert finding.evidence["total_growth"] == pytest.approx(growth**9)
    assert finding.evidence["worst_gain"] == growth
    assert finding.expected["worst_gain"] == 1.0
    assert finding.severity is CRITICAL  # 16^9 = 6.9e10
    # Nothing is known about what the first layer gives back to the input; it is not to blame.
    assert finding.layers == tuple(f"net.{i}" for i in range(1, 10))


@pytest.mark.parametrize(
    ("growth", "severity"),
    [
        # Nine steps: 7.6e3, 1.5e4, 9.2e9, 1.06e10; what fades may do so to 1/2e5: 1.7e5, 2.3e5.
        (2.7, None), (2.9, WARNING), (12.8, WARNING), (13.0, CRITICAL),
        (1 / 3.8, None), (1 / 3.95, WARNING), (1 / 12.8, WARNING), (1 / 13.0, CRITICAL),
    ],
)  # fmt: skip
def test_without_an_optimizer_the_change_over_the_chain_decides(growth: float, severity: Severity | None) -> None:
    assert [f.severity for f in judge(past(growth))] == ([severity] if severity else [])


def test_a_normalisation_does_not_renew_the_gradient() -> None:
    structure = Structure(in_a_row(linear(i, f"net.{i}", normalised=True) for i in range(LAYERS)))
    assert only(judge(past(1 / 16, structure))).code == "IM202"


@pytest.mark.parametrize("growth", [16.0, 1 / 16])
@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "Lion", "RMSprop"])
def test_an_optimizer_that_rescales_makes_it_information(growth: float, optimizer: str) -> None:
    finding = only(judge(past(growth, optimizer=optimizer, columns=updates(1e-3))))
    assert finding.severity is INFO
    assert finding.evidence["update_ratio"] == 1e-3
    assert finding.evidence["weight_gradient_rms"] == pytest.approx(1e-3)
    assert "which is a usual size" in finding.message
    assert "See whether the loss falls" in finding.remedy


def test_three_layers_say_nothing() -> None:
    assert judge(history(linears(3), {Quantity.GRADIENT_VARIANCE: backward(1e6, count=3)})) == []


@pytest.mark.parametrize("growth", [16.0, 1 / 16])
def test_every_finding_is_complete(growth: float) -> None:
    finding = only(judge(past(growth, optimizer="SGD", columns=updates(1e-9))))
    assert finding.message
    assert finding.source
    compile(finding.remedy_code, "remedy", "exec")
    assert "model.get_submodule(name)" in finding.remedy_code
    assert set(finding.expected) <= set(finding.evidence)


@given(st.integers(4, 100), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_a_flat_profile_with_noise_is_never_a_finding(depth: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(0, math.sqrt(5 / 512), depth)) + rng.normal(0, 0.2, depth)
    assert judge(history(linears(depth), {Quantity.GRADIENT_VARIANCE: np.exp(walk)})) == []


@given(st.lists(st.floats(-8, 8), min_size=LAYERS, max_size=LAYERS), st.integers(-60, 60))
def test_scaling_the_loss_changes_no_verdict(logs: list[float], power: int) -> None:
    def verdict(scale: float) -> list[tuple[object, ...]]:
        columns = {Quantity.GRADIENT_VARIANCE: np.exp(np.array(logs)) * scale}
        return [(f.code, f.severity, f.layers) for f in judge(history(linears(LAYERS), columns))]

    assert verdict(1.0) == verdict(2.0**power)
