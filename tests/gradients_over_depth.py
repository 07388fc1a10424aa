"""Gradients that grow or fade towards the input, made up, and the two rules that judge them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from builders import history, linears

from init_monitor.records.quantities import Quantity
from init_monitor.rules import ExplodingGradients, VanishingGradients

if TYPE_CHECKING:
    from init_monitor.records import Finding, History, Structure

BOTH = (ExplodingGradients(), VanishingGradients())


LAYERS = 10


def judge(past: History) -> list[Finding]:
    """Return what both rules find."""
    return [finding for rule in BOTH for finding in rule.judge(past)]


def backward(growth: float, *, count: int = LAYERS, last: float = 1.0) -> list[float]:
    """Return gradient variances by layer, in execution order, that grow so much per layer towards the input."""
    return [last * growth ** (count - 1 - i) for i in range(count)]


def past(growth: float, structure: Structure | None = None, *, last: float = 1.0, **fields: Any) -> History:
    """Return one record whose gradients change by ``growth`` per layer."""
    columns = {
        Quantity.GRADIENT_VARIANCE: backward(growth, last=last),
        Quantity.GRADIENT_COUNT: 1000.0,
        Quantity.BACKWARD_GAIN: growth,
        **fields.pop("columns", {}),
    }
    return history(structure or linears(LAYERS, dtype=fields.pop("dtype", "float32")), columns, **fields)


def updates(ratio: float | list[float], rms: float | list[float] = 1e-3) -> dict[Quantity, Any]:
    """Return parameter columns of weights with 100 elements each."""
    return {
        Quantity.UPDATE_RATIO: ratio,
        Quantity.WEIGHT_COUNT: 100.0,
        Quantity.WEIGHT_GRADIENT_NORM: 10.0 * np.asarray(rms),
    }
