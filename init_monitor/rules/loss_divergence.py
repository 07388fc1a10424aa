"""IM802: the loss is no longer finite, or rises for good."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from init_monitor.analysis.consequences import SIGNAL
from init_monitor.analysis.learning import DROWNS, SURE, course_of, guessing_loss, plays
from init_monitor.analysis.medians import median
from init_monitor.analysis.turning import lead_up, stays_broken
from init_monitor.records import Figure, Finding, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import odd_losses, outside_targets, phrases, set_back, snippets, turned_loss

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.records import History, Structure


@dataclass(frozen=True)
class LossDivergence:
    """IM802: the loss is NaN or infinite and stays so, lies far above where it began and does not come back, or falls without end.

    A loss that was not finite in single steps and is finite again (a gradient scaler or the program skipped them) is not
    told. A loss that had fallen and is that of guessing again, or is back at its start where no gradient is left, is a warning, and so
    is one that jumps far up and far below 0 over and over, falls below 0 faster and faster, began as a binary cross-entropy and is below 0, or is one
    and the same number at every step while its gradient moves the network, or that is set back to where it began over and over, at regular
    intervals. The finding names the first step whose loss was not finite, how the loss came to it, and what in the record of a step
    after it is not finite either. Where a layer is known to be the first (IM601), that finding covers it.

    **Why.** From there on nothing is learned; NaN in a weight never goes away.

    **Example.** A mean over no labelled position, 0/0, in one batch of a hundred; a learning rate that rises by 6 % with every step.

    **Remedy.** If the loss rose before: a lower learning rate, a clipped gradient. If it did not: the batch of that step, and
    what the loss divides by, or takes the logarithm or root of.

    Attributes:
        rises: factor over the level at the start from which a loss that stays there is a warning: curricula, terms that fade in
            and noise stay below.
        lost: the same for critical.
        steps: this many of the latest losses must all lie above, and as many must have come before: a spike after a first large
            step falls again within them.
        bottomless: how many times its size at the start a loss below 0, and the output's mean square, must have become for it to
            fall without end: a log-likelihood that is summed over thousands of elements starts large.
        unlikely: times its size at the start (1 at least) from which a loss below 0 that falls on is no log-likelihood: that of a
            Gaussian costs 0.9 per element at a standard deviation of 1, and earns 15 at 1e-7, what float32 resolves.
        grown: factor by which the output's rms must then have grown, to above what logits and standardised targets are: a loss
            that has a lowest value is not bought with ever larger outputs.
        outside: distance from ½ from which the targets of a binary cross-entropy that is below 0 do not lie between 0 and 1: twice
            what such have, for the outputs of an untrained network are not quite ½.
        worse: factor over the level at the start, where that was the cross-entropy of guessing, from which a loss that is still
            above it is a warning: no classifier has to be worse than an untrained one.
        worse_steps: the fewest losses for that: training recovers from a first rate that is too large within a few dozen.
        slope_left: part of the first record's gradient at or below which a loss that is back at its start cannot come down again: a
            network that has only forgotten begins anew, with a gradient of the size it began with.
        promised: part of a loss by which, to first order, a step may change it, from which one that is the same number at every step
            is no error of what the network gives: two hundred times what float32 tells apart of a mean.
        set_backs: times that the loss has to be set back, each after a fall: five such intervals of equal length, each of which begins at
            the level of the first steps, are no chance.
    """

    code: ClassVar[str] = "IM802"
    name: ClassVar[str] = "loss-divergence"
    yields_to: ClassVar[tuple[str, ...]] = ("IM101", "IM201", "IM601", "IM603")
    follows: ClassVar[tuple[str, ...]] = SIGNAL
    source: ClassVar[str] = (
        "IEEE 754-2019, 6 and 7: what is computed with NaN is NaN; Cohen et al. 2021, 'Gradient descent on neural networks typically occurs at the edge of stability'"
    )

    rises: float = 4.0
    lost: float = 100.0
    steps: int = 20
    bottomless: float = 1e3
    unlikely: float = 20.0
    grown: float = 5.0
    outside: float = 1.0
    worse: float = 1.1
    worse_steps: int = 90
    slope_left: float = 0.03
    promised: float = 1e-4
    set_backs: int = 5

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding."""
        found = (
            self._broken(history)
            or self._rising(history)
            or self._worse(history)
            or odd_losses.undone(self, history)
            or outside_targets.found(self, history)
            or self._bottomless(history)
            or odd_losses.falling_faster(self, history)
            or odd_losses.jumping(self, history)
            or odd_losses.unmoved(self, history)
            or set_back.found(self, history)
        )
        if found is not None:
            yield found

    def leaves(self, finding: Finding, other: Finding, _: Structure) -> frozenset[str]:
        """Return all layers: a finding that names what overflowed, or the step that was too large, says it better."""
        return frozenset(finding.layers or ("",)) if other.severity >= finding.severity else frozenset()

    def _broken(self, history: History) -> Finding | None:
        first = history.losses.first_nonfinite
        if first is None or not stays_broken(history):
            return None
        came, how = lead_up(history.losses, first), turned_loss.turned(first, history)
        value = history.losses.since(first).values
        word = "infinite" if value.size and np.isinf(value[0]) else "NaN"
        message = (
            f"The loss is not finite since step {first} ({word}). {how.why}{turned_loss.also_broken(first, history)}"
        )
        return Finding(
            rule=self.name,
            code=self.code,
            severity=Severity.CRITICAL,
            layers=(),
            step=max(history.last.step, int(history.losses.steps[-1])),
            message=message,
            evidence={"first_step": Figure(first, ", the first step whose loss is not finite")}
            | ({"loss_before": Figure(came.before)} if math.isfinite(came.before) else {}),
            expected={"first_step": Figure(math.inf, "none")},
            remedy=snippets.advice(*how.remedy),
            source=self.source,
        )

    def _worse(self, history: History) -> Finding | None:
        """Return the finding about a loss that began at that of guessing and is worse than that now."""
        course, guess = course_of(history.losses), guessing_loss(history.structure)
        risen = course.last - course.first
        began = abs(course.first - guess) <= (self.worse - 1) * guess
        late = course.known >= self.worse_steps and course.middle >= course.first
        if not (began and late and course.last >= self.worse * course.first and risen >= SURE * course.error):
            return None
        if plays(history.records) or not math.isfinite(course.newest):
            return None
        return Finding(
            rule=self.name,
            code=self.code,
            severity=Severity.WARNING,
            layers=(),
            step=max(history.last.step, int(history.losses.steps[-1])),
            message=(
                f"The loss is worse than guessing, and gets worse: {phrases.number(course.first)} at the start,"
                f" {phrases.number(course.last)} now, where guessing costs {phrases.number(guess)}."
            ),
            evidence={"loss": Figure(course.last, "over the last steps")},
            expected={"loss": Figure(guess, "by guessing, or less")},
            remedy=turned_loss.rising(history),
            source=self.source,
        )

    def _bottomless(self, history: History) -> Finding | None:
        """Return the finding about a loss that falls below 0 without end, and an output that grows without end by it."""
        course = course_of(history.losses)
        known = math.isfinite(course.newest) and history.losses.steps[0] == 0 if course.known else False
        sunk = -course.last / max(abs(course.start), 1.0) if known else 0.0
        if not sunk > self.unlikely or plays(history.records):
            return None
        ends = [layer.name for layer in history.structure.layers if layer.role is Role.WEIGHT][-1:]
        first, last = history.records[0], history.last
        squares = [
            record.layer_table.at(name, Quantity.MEAN_SQUARE)
            for name in ends
            for record in (first, last)
            if name in record.names
        ]
        if len(squares) < len(ends) + 1 or not squares[0] > 0:
            return None
        without_end = min(sunk, squares[-1] / squares[0]) > self.bottomless
        bought = course.goes_on and squares[-1] >= max(DROWNS, self.grown**2 * squares[0])
        if not (without_end or bought):
            return None
        return Finding(
            rule=self.name,
            code=self.code,
            severity=Severity.WARNING,
            layers=(),
            step=max(last.step, int(history.losses.steps[-1])),
            message=(
                f"The loss falls without end: {phrases.number(course.start)} at the start, {phrases.number(course.last)} now, and the"
                f" output of {ends[0]} has become {phrases.times(math.sqrt(squares[-1] / squares[0]))} as large by it."
            ),
            evidence={
                "loss": Figure(course.last, "over the last steps"),
                "output_growth": Figure(math.sqrt(squares[-1] / squares[0]), "×, of the output's rms"),
            },
            expected={"loss": Figure(0.0, "or above, for an error")},
            remedy=(
                "Look at the sign of the loss: what is minimised has to have a lowest value. An error stands there without a minus; of"
                " a log-likelihood its negative is minimised (nll_loss takes log-probabilities, so log_softmax comes first); a similarity or a critic's answer needs a bound (clipped weights, a"
                " gradient penalty). Look at the targets: those of a cross-entropy lie between 0 and 1, and masks of 0 and 255 have"
                " to be divided by 255."
            ),
            source=self.source,
        )

    def _rising(self, history: History) -> Finding | None:
        values = history.losses.values.astype(np.float64)
        values = values[np.isfinite(values)]
        if len(values) < 2 * self.steps or plays(history.records):
            return None
        early = values[: self.steps // 2]
        # Where few batches are dear (rare targets), the median of a few is that of the cheap ones. Later ones may have risen already.
        start = max(median(early), min(float(early.mean()), float(early[: len(early) // 2].mean())))
        best = median(values[: -self.steps][-5 * self.steps :])
        latest = values[-self.steps :]
        level, lowest = median(latest), float(latest.min())
        if not start > 0 or lowest < self.rises / 2 * start or level < self.rises * start:
            return None
        if level < best / 2:  # it recovers
            return None
        severity = Severity.CRITICAL if level >= self.lost * start else Severity.WARNING
        rate = history.last.learning_rate
        return Finding(
            rule=self.name,
            code=self.code,
            severity=severity,
            layers=(),
            step=max(history.last.step, int(history.losses.steps[-1])),
            message=(
                f"The loss has risen and stays there: {phrases.number(start)} at the start, {phrases.number(level)} over the last"
                f" {self.steps} steps, never below {phrases.number(lowest)}."
            ),
            evidence={
                "loss": Figure(level, f"median of the last {self.steps} steps"),
                "rise": Figure(level / start, "×"),
            }
            | ({"learning_rate": Figure(rate)} if math.isfinite(rate) else {}),
            expected={"loss": Figure(start, "at the start, or less"), "rise": Figure(1.0, "×, or less")},
            remedy=turned_loss.rising(history),
            source=self.source,
        )
