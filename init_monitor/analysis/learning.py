"""Whether a run is learning: what its training losses say, despite their noise."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.medians import median
from init_monitor.records import Role
from init_monitor.records.once import once
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from init_monitor.records import History, Layer, LossCurve, StepRecord, Structure

FEWEST = 10
"""Losses needed to see a fall: as many as the default dense start."""

LONG = 50
"""Losses from which a level loss counts: networks of a few layers that learn at all have left their first loss by then."""

SURE = 4.0
"""A difference of levels counts from this many standard errors on: 1 in 30,000 by chance."""

CLEAR = 0.2
"""A fall by this fraction of the first level is more than finding the level of guessing (a bias, a mean)."""

GOING_ON = 0.01
"""A fall by this fraction of the first level that continues after the first third of the run is learning, however slow."""

VISIBLE = 0.05
"""A level loss can be told from a falling one if the standard error of the levels is below this fraction of the first."""

GUESSING = 0.01
"""How close a loss comes to that of guessing among equal classes; a network that has learned something is below it."""

NEAR = 1.1
"""Factor over the loss of guessing below which it may still be that, with logits that are not yet small."""

WELL = 0.5
"""A loss below this fraction of its first level, and of that of guessing, has left its start behind."""

DROWNS = 10.0
"""Mean square from which an output is far above standardised targets, and logits far above those of an untrained network."""

SURE_AND_WRONG = (0.5, 2.1)
"""Largest element of the gradient of logits, times the rows of the batch, of a cross-entropy that is sure and wrong: 1."""

_TO_SIGMA = 1.4826 / math.sqrt(2)
"""From the median absolute difference of two neighbours to their standard deviation."""
_OF_MEDIAN = 1.2533
"""The standard error of a median over that of a mean."""


class Learning(str, Enum):
    """What the loss says about a run."""

    LEARNS = "learns"
    LEVEL = "level"
    UNKNOWN = "unknown"
    BROKEN = "broken"
    """The newest loss is NaN or infinite."""


class Course(NamedTuple):
    """The course of the loss, in medians; NaN where too few are known.

    Attributes:
        known: losses that are known (kept, if the run is long).
        first, middle, last: its level over the first steps, after a third of the run, and over the last steps.
        error: standard error of a difference of two of them.
        start: the first loss of all.
        newest: the loss of the newest step that is known.
    """

    known: int = 0
    first: float = math.nan
    middle: float = math.nan
    last: float = math.nan
    error: float = math.nan
    start: float = math.nan
    newest: float = math.nan

    @property
    def scale(self) -> float:
        """The size of the first level, which a fall is compared with."""
        return abs(self.first)

    @property
    def fall(self) -> float:
        """How far the loss has fallen since the start, as a fraction of the first level; negative if it rose."""
        return (self.first - self.last) / self.scale if self.scale > 0 else math.nan

    @property
    def falls(self) -> bool:
        """Whether it fell by more than its noise explains."""
        return self.first - self.last >= SURE * self.error and self.first > self.last

    @property
    def goes_on(self) -> bool:
        """Whether it still fell, by more than noise, after the first third."""
        late = self.middle - self.last
        return late >= SURE * self.error and late > GOING_ON * self.scale

    @property
    def came_back(self) -> bool:
        """Whether the first steps threw it far above its first value, beyond its noise, and it is not below that again."""
        return self.last >= self.start and self.first - self.start >= 2 * SURE * self.error


@once
def course_of(curve: LossCurve) -> Course:
    """Return the course of a run's loss; losses that are not finite are left out, except for the newest."""
    values = curve.values.astype(np.float64)
    if not values.size:
        return Course()
    finite = values[np.isfinite(values)]
    start, newest = float(values[0]), float(values[-1])
    if len(finite) < FEWEST:
        return Course(len(values), start=start, newest=newest)
    few, more = min(10, max(3, len(finite) // 10)), min(50, max(3, len(finite) // 5))
    third = len(finite) // 3
    first, middle, last = (
        median(finite[part]) for part in (slice(few), slice(third, third + more), slice(-more, None))
    )
    error = _noise(finite) * _OF_MEDIAN * math.sqrt(1 / few + 1 / more)
    return Course(len(values), first, middle, last, error, start, newest)


def seen(course: Course, structure: Structure, *, several: bool = False) -> Learning:
    """Return what the loss says about a run.

    Args:
        course: of its loss.
        structure: of the network: its last layer says what guessing costs.
        several: several optimizers compete, or may: a level loss then says nothing.
    """
    if course.known and not math.isfinite(course.newest):
        return Learning.BROKEN
    if math.isnan(course.first):
        return Learning.UNKNOWN
    if course.falls and (course.goes_on or (course.fall >= CLEAR and not guesses(course.last, structure))):
        return Learning.LEARNS
    visible = course.error <= VISIBLE * course.scale
    return Learning.LEVEL if course.known >= LONG and visible and not several else Learning.UNKNOWN


def learning_of(history: History) -> Learning:
    """Return whether the run is learning, as far as its losses show."""
    return seen(course_of(history.losses), history.structure, several=plays(history.records))


def learns_well(history: History) -> bool:
    """Say whether a run has left its start behind: its loss is below half of its first level, and of that of guessing."""
    course = course_of(history.losses)
    if seen(course, history.structure, several=plays(history.records)) is not Learning.LEARNS:
        return False
    guess = math.nan if is_other_loss(history) else guessing_loss(history.structure)
    return 0 <= course.last <= WELL * (course.first if math.isnan(guess) else min(course.first, guess))


def sureness(layer: Layer, record: StepRecord) -> float:
    """Return the largest element of the gradient of a layer's output, times the rows of the batch.

    Of a cross-entropy over it that is at most 1, what a row costs that is sure and wrong; rows that do not count (padding) make it
    larger, half of them by a factor of 2.
    """
    table = record.layer_table
    rows = table.at(layer.name, Quantity.COUNT) / layer.fan_out if layer.fan_out else math.nan
    return table.at(layer.name, Quantity.GRADIENT_ABS_MAX) * rows


def is_other_loss(history: History) -> bool:
    """Say whether the first loss is far above that of guessing and its gradient is not that of a cross-entropy that is sure."""
    first, guess = history.records[0], guessing_loss(history.structure)
    if first.step > 0 or not first.loss > max(2 * guess, guess + 2):
        return False
    head = [layer for layer in history.structure.layers if layer.role is Role.WEIGHT][-1]
    low, high = SURE_AND_WRONG
    return not low <= sureness(head, first) <= high


def plays(records: Sequence[StepRecord]) -> bool:
    """Say whether several optimizers stepped on losses of their own, so that their sum need not fall."""
    return any(len(record.loss_by_optimizer) > 1 or "," in record.optimizer for record in records[-3:])


def guessing_loss(structure: Structure) -> float:
    """Return the cross-entropy of guessing among the outputs of the last layer, ln C (ln 2 for one); NaN if not known."""
    heads = [layer for layer in structure.layers if layer.role is Role.WEIGHT]
    if not heads or heads[-1].kind != "Linear" or heads[-1].fan_out < 1:
        return math.nan
    return math.log(max(2, heads[-1].fan_out))


def guesses(loss: float, structure: Structure) -> bool:
    """Say whether a loss is that of guessing among equal classes."""
    return abs(loss - guessing_loss(structure)) <= GUESSING * loss


def is_still_guessing(course: Course, structure: Structure) -> bool:
    """Say whether a loss that fell is that of guessing among equal classes, or up to a tenth above it.

    Of a single output it has to have started there, too: any error may be near ln 2.
    """
    guess = guessing_loss(structure)
    single = guess == math.log(2)
    near = (1 - GUESSING) * guess <= course.last <= NEAR * guess
    return near and (not single or course.first <= NEAR * guess)


def level_since(curve: LossCurve, course: Course) -> int:
    """Return the first step since which a loss has not fallen: its level there was no higher than now, but for noise."""
    finite = np.isfinite(curve.values)
    steps, values = curve.steps[finite], curve.values[finite].astype(np.float64)
    few = min(10, max(3, len(values) // 10))
    for i in range(0, len(values) - few, few):
        if median(values[i : i + few]) <= course.last + SURE * course.error:
            return int(steps[i])
    return int(steps[-1]) if len(steps) else 0


def starts_far_above(history: History) -> float:
    """Return the first loss of a run if its own output is what makes it, and makes it far too large; else NaN.

    Far above is more than twice the cross-entropy of guessing, and 2 on top of it: logits of a standard deviation of 1 add a
    half. Of other losses, one that is of the size of the output's own mean square, and that is far above 1: what a squared error
    is where the output drowns the target.
    """
    losses = history.losses
    if not len(losses) or losses.steps[0] != 0 or history.records[0].step != 0:
        return math.nan
    start, guess = float(losses.values[0]), guessing_loss(history.structure)
    ends = [layer for layer in history.structure.layers if layer.role is Role.WEIGHT]
    square = history.records[0].layer_table.at(ends[-1].name, Quantity.MEAN_SQUARE) if ends else math.nan
    if not square > DROWNS:
        return math.nan
    classes = start > max(2 * guess, guess + 2)
    squared = square / DROWNS < start < square * DROWNS
    return start if classes or squared else math.nan


def only_undoes_its_start(history: History) -> bool:
    """Say whether a loss has fallen from far above guessing to no better than that: nothing has been learned by it."""
    if math.isnan(starts_far_above(history)) or is_other_loss(history):
        return False
    return course_of(history.losses).last >= (1 - GUESSING) * guessing_loss(history.structure)


def _noise(values: NDArray[np.float64]) -> float:
    """Return the standard deviation of a loss around its level, from neighbours, so that its course does not count."""
    between = median(np.abs(np.diff(values))) * _TO_SIGMA
    # Not below what float32 tells apart of its usual size (one spike is not that): a loss that never changes has no noise.
    return max(between, float(np.finfo(np.float32).eps) * median(np.abs(values)))
