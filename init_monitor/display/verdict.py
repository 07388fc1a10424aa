"""The verdict on a run: "healthy" only where nothing was found and it was seen to learn; what is known of its loss elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from init_monitor.analysis.learning import LONG, Learning, course_of, is_still_guessing, level_since, plays, seen
from init_monitor.remedies.phrases import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import LossCurve, StepRecord, Structure

STYLES = {Learning.LEARNS: "green", Learning.UNKNOWN: "", Learning.LEVEL: "yellow", Learning.BROKEN: "bold red"}


NOTHING = "nothing was measured, so nothing is known of the network: no layer is watched (see include= and exclude=)"


STEPWISE = "but the loss has not fallen since step {step}{noise} ({first} at the start, {last} now)"
NOISE = " by more than its noise"
"""Said where the level is that of the start and yet a lower number: without it the two would contradict each other."""
GUESSING = "but the loss is no lower than guessing would make it ({first} at the start, {last} now)"
NO_LOWER = "but the loss is no lower than the first one ({start}, {last} now)"


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

    def sentence(self, steps: str) -> str:
        """Return the verdict on a run without findings in so many steps."""
        if self.healthy:
            return f"healthy so far, no findings in {steps}; {self.words}."
        # Nobody is told "no findings" of a run that is known not to learn.
        known = self.learning in {Learning.LEVEL, Learning.BROKEN}
        return (
            f"nothing wrong was seen in the signal in {steps}, {self.words}."
            if known
            else f"no findings in {steps}; {self.words}."
        )

    @property
    def beside_findings(self) -> str:
        """What to add to a count of findings; empty for a run that is not known to stand."""
        return f", {self.words.replace('but', 'and', 1)}" if self.learning is Learning.LEVEL else ""


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
    several = plays(records)
    learning = seen(course, structure, several=several)
    first, last = number(course.first), number(course.last)
    if learning is Learning.LEARNS and not several and is_still_guessing(course, structure):
        return Verdict(Learning.LEVEL, GUESSING.format(first=first, last=last))
    if learning is Learning.LEARNS and course.came_back and not several:
        return Verdict(Learning.LEVEL, NO_LOWER.format(start=number(course.start), last=last))
    if learning is Learning.LEARNS:
        words = f"the loss fell from {first} to {last}"
    elif learning is Learning.LEVEL:
        since = level_since(losses, course)
        lower = since == losses.steps[0] and course.last < course.first and last != first
        words = STEPWISE.format(step=since, noise=NOISE if lower else "", first=first, last=last)
    elif learning is Learning.BROKEN:
        words = f"but the loss is not finite since step {losses.first_nonfinite}"
    elif not course.known:
        words = "the loss is not known"
    else:
        words = (
            "too early to say whether it learns" if course.known < LONG else "the loss does not say whether it learns"
        )
    return Verdict(learning, words)
