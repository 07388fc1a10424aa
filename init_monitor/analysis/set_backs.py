"""A loss that is set back to where it began, over and over and at regular intervals: what was learned is taken away again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.learning import SURE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from init_monitor.records import LossCurve

SHORTEST = 8
"""Losses between two set-backs from which a fall between them can be seen: a quarter of them at either end."""

AT_THE_START = 0.25
"""Part of the fall between two set-backs that the level after them may lie off that of the first steps; twice as much after a single
one, for weights that are drawn anew begin where chance has it."""

FALLING = -0.85
"""Rank correlation of the mean loss between two set-backs with its place, at most: a loss that is learned falls all the way (-0.96 and less in
the trainings of the tests). Batches that come in the same order in each epoch make as regular a loss of a network that learns nothing, but
one without an order: of 16 ranks at random one in 50,000 has less, at the best of 16 places to begin one in 3,000."""

LIKELY = 24
"""Intervals that are looked at in full: the right one, its multiples, and some that chance puts among them."""

LONGEST = 4096
"""Latest losses that are looked at: intervals of at most an eighth of them are found, in a few hundred operations of numpy."""

_TO_SIGMA = 1.4826
"""From the median absolute deviation to the standard deviation of a normal number."""


class SetBack(NamedTuple):
    """A loss that is set back again and again.

    Attributes:
        every: optimizer steps from one set-back to the next.
        times: how many were seen.
        top: level of the loss right after one.
        bottom: right before one.
        last: the first step after the latest.
    """

    every: int
    times: int
    top: float
    bottom: float
    last: int


def set_back(curve: LossCurve, least: int) -> SetBack | None:
    """Return how a loss is set back to the level of its first steps at regular intervals; ``None`` if it is not.

    Args:
        curve: the losses; of a run that is so long that only some are kept, these.
        least: set-backs that there have to be, with nothing else between them than a fall.
    """
    values = curve.values.astype(np.float64)
    if len(values) < (least + 1) * SHORTEST or not np.isfinite(values).all():
        return None
    offset = max(0, len(values) - LONGEST)
    recent = values[offset:]
    found = _interval(np.diff(recent), least)
    if found is None:
        return None
    every, phase = found
    # ``recent[at]`` is the first loss after a set-back; what lies before the first one is a tooth of its own where the run begins.
    starts = np.arange(phase + 1, len(recent) - every + 1, every)
    if len(starts) < least:
        return None
    teeth = np.stack([recent[at : at + every] for at in starts])
    quarter = max(2, every // 4)
    tops, bottoms = np.median(teeth[:, :quarter], axis=1), np.median(teeth[:, -quarter:], axis=1)
    falls = tops - bottoms
    fall, began = float(np.median(falls)), float(np.median(values[:quarter]))
    # What a level of so many losses is uncertain by: their scatter about the mean tooth.
    scatter = _TO_SIGMA * float(np.median(np.abs(teeth - np.median(teeth, axis=0))))
    error = scatter * np.sqrt(2 / quarter)
    allowed = max(AT_THE_START * fall, error)
    off = np.abs(tops - began)
    if fall <= SURE * error or abs(float(np.median(tops)) - began) > allowed or (off > 2 * allowed).any():
        return None
    if (falls < fall / 2).any() or _order(teeth.mean(axis=0)) > FALLING:
        return None
    return SetBack(
        every * curve.stride,
        len(starts),
        float(np.median(tops)),
        float(np.median(bottoms)),
        int(curve.steps[offset + starts[-1]]),
    )


def _order(values: NDArray[np.float64]) -> float:
    """Return the rank correlation (Spearman's) of values with their places."""
    places = np.arange(len(values))
    return float(np.corrcoef(places, np.argsort(np.argsort(values)))[0, 1])


def _interval(rises: NDArray[np.float64], least: int) -> tuple[int, int] | None:
    """Return the interval at which a loss leaps up, and the place of its first leap; ``None`` if it does not.

    Of an interval and its multiples the shortest explains the leaps; its place is that of the largest mean rise.
    """
    best: tuple[int, int] | None = None
    most = 0.0
    for every in _likely(rises, len(rises) // least):
        count = len(rises) // every
        mean = rises[: count * every].reshape(count, every).mean(axis=0)
        place = int(mean.argmax())
        # How far the mean leap stands out from chance: longer intervals average over fewer.
        height = float(mean[place]) * np.sqrt(count)
        if height > most:
            best, most = (every, place), height
    return best


def _likely(rises: NDArray[np.float64], longest: int) -> list[int]:
    """Return the intervals at which rises repeat most, in order: leaps at equal distances stand out of the autocorrelation."""
    size = 1 << (2 * len(rises) - 1).bit_length()
    repeats = np.fft.irfft(np.abs(np.fft.rfft(rises - rises.mean(), size)) ** 2)[SHORTEST : longest + 1]
    return sorted(SHORTEST + int(at) for at in np.argsort(repeats)[-LIKELY:])
