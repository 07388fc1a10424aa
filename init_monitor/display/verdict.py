"""The verdict on a run without findings: "healthy" only where it was seen to learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from init_monitor.analysis.learning import LONG, Learning, course_of, plays, seen
from init_monitor.remedies.phrases import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import LossCurve, StepRecord, Structure

STYLES = {Learning.LEARNS: "green", Learning.UNKNOWN: "", Learning.LEVEL: "yellow", Learning.BROKEN: "bold red"}


NOTHING = "nothing was measured, so nothing is known of the network: no layer is watched (see include= and exclude=)"


class Verdict(NamedTuple):
    """What the loss says about a run.

    Attributes:
        learning: in a word.
        words: to follow "no findings;".
    """

    learning: Learning
    words: str

    @property
    def healthy(self) -> bool:
        """It was seen to learn."""
        return self.learning is Learning.LEARNS

    @property
    def style(self) -> str:
        """Of the line, on a terminal."""
        return STYLES[self.learning]


def verdict_of(losses: LossCurve, structure: Structure, records: Sequence[StepRecord]) -> Verdict:
    """Return what the loss says about a run.

    Args:
        losses: of all its steps.
        structure: its network.
        records: its last ones, or all.
    """
    if records and not records[-1].names:
        return Verdict(Learning.UNKNOWN, NOTHING)
    course = course_of(losses)
    learning = seen(course, structure, several=plays(records))
    if learning is Learning.LEARNS:
        words = f"the loss fell from {number(course.first)} to {number(course.last)}"
    elif learning is Learning.LEVEL:
        words = f"but the loss has not left its level ({number(course.first)} at the start, {number(course.last)} now)"
    elif learning is Learning.BROKEN:
        words = f"but the loss is not finite since step {losses.first_nonfinite}"
    elif not course.known:
        words = "the loss is not known"
    else:
        words = (
            "too early to say whether it learns" if course.known < LONG else "the loss does not say whether it learns"
        )
    return Verdict(learning, words)
