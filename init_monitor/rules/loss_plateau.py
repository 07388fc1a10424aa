"""IM801: the loss does not leave its level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from init_monitor.analysis.learning import Learning, course_of, guesses, plays, seen
from init_monitor.records import Figure, Finding, Severity
from init_monitor.remedies import phrases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.records import History, Structure

EVERY_OTHER = (
    "IM101", "IM102", "IM201", "IM202", "IM301", "IM302", "IM303", "IM304", "IM401", "IM402", "IM501", "IM502", "IM503",
    "IM601", "IM602", "IM603", "IM604", "IM701", "IM702", "IM703", "IM704", "IM802",
)  # fmt: skip


@dataclass(frozen=True)
class LossPlateau:
    """IM801: the loss has not left its level for long; information, never more.

    Medians over the first and the last steps are compared, given the noise of the loss. A level loss is not a fault in itself: that
    of a GAN, a contrastive loss or a task of pure chance may stay, and some tasks are learned late. Where several optimizers
    compete nothing is reported, nor where another finding names what is wrong.

    **Why.** It is what a person looks for when nothing else is found: the network does no better than at its start.

    **Example.** Cross-entropy at 2.303 over ten classes for 200 steps; labels that were shuffled independently of their inputs.

    **Remedy.** Overfit one batch: if that fails, the fault is in the network or the learning rate; if it works, it is in the data.

    Attributes:
        steps: the fewest losses of which none is lower than chance makes it. Tasks of a few hundred samples that are learned at
            all are being learned by then.
    """

    code: ClassVar[str] = "IM801"
    name: ClassVar[str] = "loss-plateau"
    yields_to: ClassVar[tuple[str, ...]] = EVERY_OTHER
    source: ClassVar[str] = "Karpathy 2019, 'A recipe for training neural networks': overfit a single batch first"

    steps: int = 150

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding."""
        course = course_of(history.losses)
        if course.known < self.steps or course.last > course.first * 2 > 0:
            return
        if seen(course, history.structure, several=plays(history.records)) is not Learning.LEVEL:
            return
        steps = int(history.losses.steps[-1] - history.losses.steps[0]) + 1
        message = (
            f"The loss has not left its level in {phrases.count(steps, 'step')}: {phrases.number(course.first)} at the start,"
            f" {phrases.number(course.last)} now."
        )
        if guesses(course.last, history.structure):
            message += " That is what guessing costs."
        yield Finding(
            rule=self.name,
            code=self.code,
            severity=Severity.INFO,
            layers=(),
            step=max(history.last.step, int(history.losses.steps[-1])),
            message=message,
            evidence={"loss": Figure(course.last, "over the last steps"), "steps": Figure(steps, "optimizer steps")},
            expected={"loss": Figure(course.first, "at the start, and falling")},
            remedy=(
                "Train on one batch repeatedly: if its loss does not fall, look at the network and the learning rate;"
                " if it does, look at the data and the labels. A loss that is level by design needs nothing."
            ),
            source=self.source,
        )

    def leaves(self, finding: Finding, other: Finding, _: Structure) -> frozenset[str]:
        """Return all layers: whatever else is wrong explains a level loss."""
        return frozenset(finding.layers or ("",)) if other.severity > Severity.INFO else frozenset()
