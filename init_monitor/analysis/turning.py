"""How a loss became non-finite, and whether it stays so."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.dtypes import FORMATS
from init_monitor.analysis.learning import VISIBLE
from init_monitor.analysis.medians import median
from init_monitor.analysis.optimizers import epsilon_of
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import History, LossCurve, StepRecord

BEFORE = 8
"""Steps looked at before the first non-finite loss: a run that diverges multiplies its loss within a few steps."""

ROSE = 3.0
"""Factor over the lowest loss within these steps, beyond its noise, from which a loss was on its way up."""


GRADUAL = 30
"""Steps for which a loss must have stayed near its start before it had doubled to have climbed: a rate that is too large multiplies it
within a few (``BEFORE``)."""

GROUP = 5
"""Losses whose median is compared with those of the start."""


class LeadUp(NamedTuple):
    """How the loss reached its first non-finite value.

    Attributes:
        before: its last finite value; NaN if there was none.
        rose: it was rising.
        known: finite losses before.
    """

    before: float
    rose: bool
    known: int


def lead_up(curve: LossCurve, first: int) -> LeadUp:
    """Return the course of the loss up to step ``first``."""
    steps, values = curve.steps, curve.values.astype(np.float64)
    earlier = values[(steps < first) & np.isfinite(values)]
    if not earlier.size:
        return LeadUp(math.nan, rose=False, known=0)
    recent = earlier[-BEFORE:]
    usual = median(earlier[-10 * BEFORE :])
    last = float(recent[-1])
    rose = last > 0 and last >= ROSE * max(float(np.min(np.abs(recent))), abs(usual) / ROSE, 1e-30)
    return LeadUp(last, rose=bool(rose), known=int(earlier.size))


def climbed(history: History) -> int:
    """Return the steps over which a loss rose to twice its start or more without ever having been clearly below it; 0 if it did not.

    Nor if it doubled at once, or a schedule raised the learning rate.
    """
    first, values = history.losses.first_nonfinite, history.losses.values.astype(np.float64)
    values = values[history.losses.steps < first] if first is not None else values
    rates = [record.learning_rate for record in history.records]
    if len(values) < GRADUAL or not np.isfinite(values).all() or max(rates) > min(rates):
        return 0
    start = median(values[:GROUP])
    high = np.flatnonzero(values >= 2 * start)
    until = int(high[0]) if high.size else len(values)
    if not start > 0 or until < GRADUAL or (first is None and not median(values[-GROUP:]) >= 2 * start):
        return 0
    medians = [median(values[i : i + GROUP]) for i in range(0, until - GROUP + 1, GROUP)]
    return len(values) if min(medians) >= (1 - VISIBLE) * start else 0


def stays_broken(history: History) -> bool:
    """Say whether the newest loss is not finite and neither the scaler nor chance explains it.

    One loss that is not finite, in a step that a gradient scaler skips, is no more than that; of two in a row the second saw
    weights that the first has broken, or the same fault.
    """
    values = history.losses.values
    if not values.size or np.isfinite(values[-1]):
        return False
    return not history.last.loss_scaled or (len(values) > 1 and not np.isfinite(values[-2]))


def lost_epsilon(history: History) -> str:
    """Return the half-precision format in which the optimizer's eps is 0 and an update broke weights; empty if none.

    A gradient that is finite went in and NaN came out: 0/0, where a gradient was 0 too. In float32 Adam and similar optimizers cannot do
    that. Under a gradient scaler the weights are not in half precision.
    """
    last, smallest = history.last, FORMATS["float16"].smallest
    epsilon = epsilon_of(last.optimizer) if last.optimizer else None
    before = history.records[-2] if len(history.records) > 1 else None
    half = any(layer.dtype == "float16" and layer.weight for layer in history.structure.layers)
    if not half or last.loss_scaled or epsilon is None or epsilon >= smallest / 2:
        return ""
    # The update that broke them is that of the step before the record.
    measured = before is not None and before.step == last.step - 1
    if measured and before is not None and (before.column(Quantity.WEIGHT_GRADIENT_NONFINITE_COUNT) > 0).any():
        return ""
    return "float16" if broken_weights(last) and measured else ""


def broken_weights(record: StepRecord) -> tuple[str, ...]:
    """Return the names of the parameters that hold NaN or infinity at a step."""
    bad = record.column(Quantity.WEIGHT_NONFINITE_COUNT) > 0
    return tuple(name for name, is_bad in zip(record.parameter_names, bad.tolist(), strict=True) if is_bad)
