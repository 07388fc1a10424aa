from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from builders import history, linears, measure, only
from torch import nn

from init_monitor.records import Finding, Residual, Severity, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import ExplodingGradients, VanishingGradients

if TYPE_CHECKING:
    from init_monitor.records import History

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL


BOTH = (ExplodingGradients(), VanishingGradients())


LAYERS = 10


def judge(past: History) -> list[Finding]:
    return [finding for rule in BOTH for finding in rule.judge(past)]


def backward(growth: float, *, count: int = LAYERS, last: float = 1.0) -> list[float]:
    """Return gradient variances by layer, in execution order, that grow so much per layer towards the input."""
    return [last * growth ** (count - 1 - i) for i in range(count)]


def past(growth: float, structure: Structure | None = None, *, last: float = 1.0, **fields: Any) -> History:
    columns = {
        Quantity.GRADIENT_VARIANCE: backward(growth, last=last),
        Quantity.GRADIENT_COUNT: 1000.0,
        Quantity.BACKWARD_GAIN: growth,
        **fields.pop("columns", {}),
    }
    return history(structure or linears(LAYERS, dtype=fields.pop("dtype", "float32")), columns, **fields)


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
