"""IM604: nothing has moved since the start, or no parameter gets a gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from init_monitor.analysis.medians import median
from init_monitor.analysis.stillness import (
    Still,
    end_of_gradient,
    expected_updates,
    how_it_stands,
    last_off,
    out_of_rate,
    rests_since,
    was_skipped,
)
from init_monitor.records import Figure, Finding, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases, standing_still

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.records import History, Layer


@dataclass(frozen=True)
class Standstill:
    """IM604: since the start no parameter gets a gradient, or none moves.

    The finding names the cause, by this evidence: no parameter is trainable; none has a gradient at all (the loss is not made
    from the network); every gradient is exactly zero, and the layer at which it ends (a rectifier that is off for everything, a
    clamp, a saturated output, a softmax over one element); a learning rate of zero; a gradient that is clipped to nothing; a
    step that changes nothing. A network that learned at first and has had no gradient since is reported with that step. A rate that a schedule has used up long before the end is a warning. Steps that a gradient scaler skips do not count, and a loss that merely stays level is no
    standstill. Where no optimizer steps at all, by hand, it is said after 128 batches. It is about the whole network: its consequences are not reported separately.

    **Why.** Such a run can train for days and still be what it was at its random start.

    **Example.** A ReLU behind the only output of a regression; a warm-up from 0 whose schedule moves once per epoch;
    ``gradient_clip_val=1e-7`` before SGD; a loss made of ``.item()``.

    **Remedy.** By the cause: take the activation away, connect the loss, step the schedule with every batch, clip at a norm that
    gradients have.

    Attributes:
        steps: optimizer steps, from the first of the run, that must all show it. A warm-up from 0 moves by its second step, and
            a head of zeros lets the gradient through after one.
        least_records: this many of them must have been measured.
        faint: ‖Δw‖/‖w‖ of one step, at most, of a gradient that was clipped away: a million such steps replace a weight once.
        shortfall: and its share of what rate and gradient give: clipping a gradient of norm 1,000 to 1, which is harmless, is
            not less.
        spent: fraction of the largest learning rate that counts as almost zero. A cosine is there for the last half per cent of its steps,
            three steps of a tenth are not.
        spent_steps: optimizer steps, and a quarter of the run so far, for which it must be so; a run whose loss has not fallen yet is
            told at once, since a schedule that ends before that counts steps where epochs were meant.
    """

    code: ClassVar[str] = "IM604"
    name: ClassVar[str] = "standstill"
    yields_to: ClassVar[tuple[str, ...]] = ("IM503",)
    speaks_for_all: ClassVar[bool] = True
    source: ClassVar[str] = (
        "PyTorch documentation, 'Autograd mechanics', and torch.optim: what has no gradient, or a rate of 0, does not move"
    )

    steps: int = 8
    least_records: int = 3
    faint: float = 1e-6
    shortfall: float = 1e-3
    spent: float = 1e-4
    spent_steps: int = 20

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding."""
        if history.last.batches_waited and history.last.unstepped:
            yield self._never_stepped(history)
            return
        # The first record of an optimizer that holds nothing of the model has no parameters yet.
        records = [record for record in history.records if record.parameter_names and not was_skipped(record)]
        if len(records) < self.least_records or records[-1].step - records[0].step + 1 < self.steps:
            return
        losses = history.losses
        if losses.first_nonfinite is not None and losses.first_nonfinite <= history.records[0].step:
            return  # nothing can move by a loss that never was a number: IM802 tells why
        if history.records[0].step > 0:
            yield from self._came_to_rest(history)
            return
        still = how_it_stands(records, history.structure, faint=self.faint, shortfall=self.shortfall)
        if still is not None:
            yield self._finding(still, history)
        elif (since := out_of_rate(history, part=self.spent, steps=self.spent_steps)) is not None:
            yield self._spent(since, history)
        else:
            yield from self._came_to_rest(history)

    def _never_stepped(self, history: History) -> Finding:
        batches = history.last.batches_waited
        cause = standing_still.not_stepped(history.last)
        return Finding(
            rule=self.name,
            code=self.code,
            severity=Severity.CRITICAL,
            layers=(),
            step=history.last.step,
            message=f"Nothing has learned in {batches:,} batches, since the start: no optimizer has stepped once. {cause.why}",
            evidence={"batches": Figure(batches, "batches without a step of an optimizer")},
            expected={"batches": Figure(1, "batch, or as many as gradients are accumulated over")},
            remedy=cause.remedy,
            source=self.source,
        )

    def _came_to_rest(self, history: History) -> Iterator[Finding]:
        since = rests_since(history, least=self.least_records, steps=self.steps)
        if since is not None:
            place = end_of_gradient(history) or last_off(history)
            cause = standing_still.died(place, history)
            evidence, expected = _numbers(Still.BLOCKED, place, history)
            yield Finding(
                rule=self.name,
                code=self.code,
                severity=Severity.CRITICAL,
                layers=() if place is None else (place.name,),
                step=history.last.step,
                message=f"Nothing learns any more: since step {since} the gradient of every parameter is exactly 0. {cause.why}",
                evidence={"step": Figure(since, "the first measured one without a gradient"), **evidence},
                expected=expected,
                remedy=cause.remedy,
                source=self.source,
            )

    def _spent(self, since: int, history: History) -> Finding:
        record = history.last
        largest = max(one.learning_rate for one in history.records)
        return Finding(
            rule=self.name,
            code=self.code,
            severity=Severity.WARNING,
            layers=(),
            step=record.step,
            message=(
                f"The learning rate has been next to 0 at step {since} already ({phrases.number(record.learning_rate)} now,"
                f" {phrases.number(largest)} at most), and what is not learned by then will not be."
            ),
            evidence={
                "learning_rate": Figure(record.learning_rate, "now"),
                "step": Figure(since, "the first sampled step with next to none"),
            },
            expected={"learning_rate": Figure(largest, "as at its largest, and falling until the run ends")},
            remedy=standing_still.SPENT,
            source=self.source,
        )

    def _finding(self, still: Still, history: History) -> Finding:
        record = history.last
        place = end_of_gradient(history) or last_off(history) if still is Still.BLOCKED else None
        cause = standing_still.cause_of(still, place, history)
        steps = record.step - history.records[0].step + 1
        evidence, expected = _numbers(still, place, history)
        return Finding(
            rule=self.name,
            code=self.code,
            severity=Severity.CRITICAL,
            layers=() if place is None else (place.name,),
            step=record.step,
            message=f"{_LEADS[still].format(steps=phrases.count(steps, 'step'))} {cause.why}",
            evidence={"steps": Figure(steps, "optimizer steps"), **evidence},
            expected=expected,
            remedy=cause.remedy,
            source=self.source,
        )


_LEADS = {
    Still.FROZEN: "Nothing has learned in {steps}, since the start: no parameter that the optimizer holds is trainable.",
    Still.UNCONNECTED: "Nothing has learned in {steps}, since the start: no parameter has a gradient.",
    Still.BLOCKED: "Nothing has learned in {steps}, since the start: the gradient of every parameter is exactly 0.",
    Still.ZEROED: "Nothing has learned in {steps}, since the start: the optimizer gets no gradient.",
    Still.UNDONE: "Nothing has learned in {steps}, since the start: the weights are the same numbers before every step.",
    Still.NO_RATE: "Nothing has moved in {steps}, since the start: the learning rate is 0.",
    Still.SHRUNK: "Next to nothing has moved in {steps}, since the start, although there is a gradient and a learning rate.",
    Still.UNMOVED: "Nothing has moved in {steps}, since the start, although there is a gradient and a learning rate.",
}


def _numbers(still: Still, place: Layer | None, history: History) -> tuple[dict[str, Figure], dict[str, Figure]]:
    record = history.last
    if still in {Still.FROZEN, Still.UNCONNECTED, Still.BLOCKED, Still.ZEROED}:
        evidence = {"parameters_with_gradient": Figure(0, f"of {len(record.parameter_names)} parameters")}
        expected = {"parameters_with_gradient": Figure(len(record.parameter_names), "parameters")}
        if place is not None:
            evidence["variance"] = Figure(record.layer_table.at(place.name, Quantity.VARIANCE), f"of {place.name}")
        return {k: v for k, v in evidence.items() if math.isfinite(v)}, expected
    moved = record.column(Quantity.UPDATE_RATIO)
    moved = moved[np.isfinite(moved)]
    evidence = {"update_ratio": Figure(float(moved.max()) if moved.size else 0.0, "‖Δw‖/‖w‖ per step, at most")}
    if math.isfinite(record.learning_rate):
        evidence["learning_rate"] = Figure(record.learning_rate)
    wanted = expected_updates(record)
    wanted = wanted[np.isfinite(wanted) & (wanted > 0)]
    usual = median(wanted) if wanted.size else math.nan
    expected = {
        "update_ratio": Figure(usual, "‖Δw‖/‖w‖ by rate and gradient") if usual > 0 else Figure(1e-3, "‖Δw‖/‖w‖")
    }
    return evidence, expected
