"""Shapes of a loss that tell what its level does not: it jumps both ways, it falls faster and faster, it has lost what it had gained."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.learning import CLEAR, FEWEST, LONG, SURE, course_of
from init_monitor.analysis.medians import median

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from init_monitor.records import LossCurve

FAR_OFF = 10.0
"""Median absolute deviations from the median that a loss with normal noise never reaches (6.7 standard deviations, 1 in 10^10). A
ratio whose denominator goes through 0 is there in 6.3 % of the steps (a Cauchy distribution, 1 - 2/π · atan(10))."""

WINDOW = 100
"""Latest losses in which jumps are counted: 3.2 of them are expected on either side of such a ratio."""

EACH_SIDE = 2
"""Jumps needed on either side: such a ratio has as many in two of three windows (Poisson, 3.2 on either side); a run that was thrown
once comes back from one side."""

FASTER = 2.0
"""Factor by which a loss must fall more in the last third of a run than in the one before it to fall faster and faster. What
comes near a lowest value falls less and less; a logarithm of a spread that shrinks at a steady rate falls by as much."""

UNLIKE_OTHERS = 1
"""Of the latest losses as many may be low again by chance, as those of single batches are."""

AT_LEAST = 4.0
"""Times the size of the loss at the start that jumps must reach both ways: a loss that has come close to 0 has a small spread."""

ROUNDED = 4 * float(np.finfo(np.float32).eps)
"""Part of a number that the means of equal numbers differ by: a few roundings of float32."""

PER_THIRD = 30
"""Losses needed in each third for that."""


class Jumps(NamedTuple):
    """Losses far off on both sides.

    Attributes:
        above, below: how many.
        of: among so many losses.
        usual: their median.
        high, low: the largest and the smallest.
    """

    above: int
    below: int
    of: int
    usual: float
    high: float
    low: float


class Regained(NamedTuple):
    """A loss that is back at where it began.

    Attributes:
        low: the lowest level it had.
        leap: the first step of those that lie above half-way between.
    """

    low: float
    leap: int


def jumps(curve: LossCurve) -> Jumps | None:
    """Return how a loss jumps, if it does so both ways and to below 0: no error, and no likelihood of a batch, dips like that."""
    _, values = _known(curve)
    latest = values[-WINDOW:]
    if len(latest) < WINDOW:
        return None
    usual = median(latest)
    spread = median(np.abs(latest - usual))
    above = int((latest > usual + FAR_OFF * spread).sum())
    below = int((latest < usual - FAR_OFF * spread).sum())
    low, high, bar = float(latest.min()), float(latest.max()), AT_LEAST * course_of(curve).scale
    if not spread > 0 or min(above, below) < EACH_SIDE or not (-low > bar and high > bar):
        return None
    return Jumps(above, below, len(latest), usual, high, low)


def newest_level(curve: LossCurve) -> float:
    """Return the level of the very last losses: of a loss that falls faster and faster, a longer stretch lies behind."""
    _, values = _known(curve)
    return median(values[-FEWEST:]) if values.size else math.nan


def falls_faster(curve: LossCurve) -> bool:
    """Say whether a loss has fallen far more in the last third of the run than in the second one."""
    steps, values = _known(curve)
    if not steps.size:
        return False
    at = [values[np.searchsorted(steps, steps[-1] * part / 3) :][:PER_THIRD] for part in (1, 2)]
    latest = values[-PER_THIRD:]
    if len(values) < 3 * PER_THIRD or any(len(part) < PER_THIRD for part in at):
        return False
    one, two, three = (median(part) for part in (*at, latest))
    return one - two >= SURE * course_of(curve).error and two - three >= FASTER * (one - two)


def same_number(curve: LossCurve) -> float | None:
    """Return the loss of a run in which it was one and the same number at all of at least ``LONG`` steps, but for rounding; not 0."""
    values = curve.values.astype(np.float64)
    if len(values) < LONG or not np.isfinite(values).all():
        return None
    level = median(values)
    return level if level and float(np.ptp(values)) <= ROUNDED * abs(level) else None


def regained(curve: LossCurve, steps: int) -> Regained | None:
    """Return how low a loss was that now is where it began, in all of the latest ``steps``."""
    at, values = _known(curve)
    if len(values) < 3 * steps:
        return None
    course, latest = course_of(curve), values[-steps:]
    # The lowest level of as many steps, before the latest ones.
    windows = np.lib.stride_tricks.sliding_window_view(values[:-steps], steps)[:: steps // 2]
    low = float(np.median(windows, axis=1).min())
    half = (low + course.last) / 2
    fallen = course.last - low
    lower = np.flatnonzero(latest <= half)
    if fallen < CLEAR * max(abs(course.last), abs(low)) or fallen < SURE * course.error or len(lower) > UNLIKE_OTHERS:
        return None
    return Regained(low, int(at[np.flatnonzero(values[:-steps] <= half)[-1] + 1]))


def _known(curve: LossCurve) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the steps whose loss is finite, and these losses."""
    values = curve.values.astype(np.float64)
    finite = np.isfinite(values)
    return curve.steps[finite], values[finite]
