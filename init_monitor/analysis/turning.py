"""How a loss came to be not finite, and whether it stays so."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import History, LossCurve, StepRecord

BEFORE = 8
"""Steps looked at before the first loss that is not finite: a run that diverges multiplies its loss within a few."""

ROSE = 3.0
"""Factor over the lowest loss within these steps, beyond its noise, from which a loss was on its way up."""


class LeadUp(NamedTuple):
    """How the loss came to its first value that is not finite.

    Attributes:
        before: its last finite value; NaN if there was none.
        rose: it was on its way up.
        known: finite losses before.
    """

    before: float
    rose: bool
    known: int


def lead_up(curve: LossCurve, first: int) -> LeadUp:
    """Return how the loss came to step ``first``."""
    steps, values = curve.steps, curve.values.astype(np.float64)
    earlier = values[(steps < first) & np.isfinite(values)]
    if not earlier.size:
        return LeadUp(math.nan, rose=False, known=0)
    recent = earlier[-BEFORE:]
    usual = float(np.median(earlier[-10 * BEFORE :]))
    last = float(recent[-1])
    rose = last > 0 and last >= ROSE * max(float(np.min(np.abs(recent))), abs(usual) / ROSE, 1e-30)
    return LeadUp(last, rose=bool(rose), known=int(earlier.size))


def stays_broken(history: History) -> bool:
    """Say whether the newest loss is not finite, and neither the scaler nor chance explains that.

    One loss that is not finite, in a step that a gradient scaler skips, is no more than that; of two in a row the second saw
    weights that the first has broken, or the same fault.
    """
    values = history.losses.values
    if not values.size or np.isfinite(values[-1]):
        return False
    return not history.last.loss_scaled or (len(values) > 1 and not np.isfinite(values[-2]))


def broken_weights(record: StepRecord) -> tuple[str, ...]:
    """Return the names of the parameters that hold NaN or infinity at a step."""
    bad = record.column(Quantity.WEIGHT_NONFINITE_COUNT) > 0
    return tuple(name for name, is_bad in zip(record.parameter_names, bad.tolist(), strict=True) if is_bad)
