from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import linears, measure, only
from gradients_over_depth import LAYERS, judge, past, updates
from torch import nn

from init_monitor.records import LossCurve, LossStretch, Residual, Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import ExplodingGradients, VanishingGradients

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL


def test_layers_of_good_gain_leave_the_blame_to_those_affected() -> None:
    plain = linears(LAYERS)
    good = {Quantity.BACKWARD_GAIN: 1.0}
    finding = only(judge(past(16.0, plain, columns=good)))
    # Variance factors of 16 per layer: 16^4 = 65536 is the first above 1e4, seen from the median of the last three.
    assert finding.layers == ("net.0", "net.1", "net.2", "net.3", "net.4")
    assert "clip" in finding.remedy
    residual = Structure(plain.layers, (Residual("#1", "", "identity", "net.0", "net.1"),))
    assert "residual branches" in only(judge(past(16.0, residual, columns=good))).remedy


def test_weights_of_eight_times_hes_variance_explode_backward_by_eight_per_layer() -> None:
    torch.manual_seed(0)
    modules: list[nn.Module] = []
    for i in range(LAYERS):
        layer = nn.Linear(256, 256)
        nn.init.normal_(layer.weight, std=(16 / 256) ** 0.5)
        nn.init.zeros_(layer.bias)
        modules += [layer, nn.ReLU()] if i < LAYERS - 1 else [layer]
    measured = measure(nn.Sequential(*modules), torch.randn(128, 256))
    finding = only(ExplodingGradients().judge(measured))
    assert finding.evidence["growth_per_layer"] == pytest.approx(8, rel=0.3)
    assert finding.severity is WARNING  # 8^9 = 1.3e8
    assert list(VanishingGradients().judge(measured)) == []


@pytest.mark.parametrize(
    ("growth", "fall", "severity"),
    [(100.0, 0.0, WARNING), (100.0, 0.03, INFO), (4.0, 0.0, INFO)],
    ids=["level", "learns", "level, and not critical"],
)
def test_a_gradient_that_grows_critically_leads_nowhere_where_the_loss_stays(
    growth: float, fall: float, severity: Severity
) -> None:
    """As between sine layers of 30 · x with the usual weights: under Adam every step is of a usual size."""
    noise = 0.01 * np.random.default_rng(0).normal(size=100)
    curve = LossCurve()
    curve.add(LossStretch.of(enumerate((2 * (1 - fall) ** np.arange(100) + noise).tolist())))
    measured = replace(past(growth, columns=updates(1e-3), optimizer="Adam"), losses=curve)
    finding = only(list(ExplodingGradients().judge(measured)))
    assert finding.severity is severity


def test_where_no_layer_is_off_a_factor_between_them_is_looked_for() -> None:
    finding = only(judge(past(100.0, columns={Quantity.BACKWARD_GAIN: 1.0})))
    assert "a factor on what an activation receives" in finding.remedy
