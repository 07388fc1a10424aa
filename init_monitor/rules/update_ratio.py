"""IM603: each step changes the weights by far too much, or by almost nothing, for long."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from init_monitor.analysis import slowness
from init_monitor.analysis.consequences import MOST, SIGNAL, places_of, too_large
from init_monitor.analysis.dtypes import format_of
from init_monitor.analysis.learning import Learning, learning_of
from init_monitor.analysis.medians import median
from init_monitor.analysis.pace import USUAL_UPDATE, growth_of, judged_weights, pace_of, paces_of, pull_of
from init_monitor.analysis.rising import RISING_PAIRS, rising_share
from init_monitor.records import Figure, Finding, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import (
    learning_rate,
    made_by_training,
    outsized_loss,
    phrases,
    snippets,
    standing_still,
    unfit_steps,
)
from init_monitor.remedies.made_alike import READ

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from init_monitor.analysis.pace import Pace
    from init_monitor.records import History, StepRecord, Structure

EXPLODING = ("IM101", "IM201", "IM401", "IM502", "IM701")
FADING = ("IM102", "IM202")
"""What makes a gradient, and with it the steps, far too large or too faint."""

FAINT = "weight_gradient"
"""Evidence of a gradient that is too faint for any rate."""

IN_MORE_DIGITS = (
    "Keep the weights in float32 and compute in half precision (mixed precision), or raise the learning rate."
)
MIXED = 'trainer = pl.Trainer(precision="bf16-mixed")'


@dataclass(frozen=True)
class UpdateRatio:
    """IM603: the median layer's ‖Δw‖/‖w‖ is so large that steps replace the weights, or too small to learn.

    Measured around the optimizer step. Only weights of two dimensions or more that did not start at zero count. Warm-ups,
    learning rates that decay to zero and networks that have converged are left alone. One step that makes all weights ten times
    larger is enough, and so is one a hundred times as large as the steps after it in a run whose loss stands since. Weights in half precision that no update reaches, although there is a gradient, are told too: what is added
    to them is rounded away. So is a schedule that returns a rate where it should return a factor.

    **Why.** A step that replaces much of a weight replaces what the steps before have learnt; one that is a hundred-thousandth
    of it changes nothing in a hundred thousand. Measured on eight small networks, SGD and Adam: all that learnt had 1e-4 to 0.2.

    **Example.** Adam with a learning rate of 1; SGD with 1e-6.

    **Remedy.** The learning rate that fits the initial weights, which the finding computes from its first step.

    Attributes:
        too_large: ‖Δw‖/‖w‖ of one step above which it is too large. Measured in 160 trainings of eight small networks: at
            usual learning rates (SGD up to 0.1, Adam up to 0.01) no step exceeded 0.2; at SGD's 10 and Adam's 0.1 three of
            the first ten passed 0.3 in nearly all.
        often: this many of the latest records must show it: a first step of Adam (η / rms(w), whatever the gradient) or one
            spike may.
        latest: records that are looked at for too large updates: the default dense start, in which a broken network breaks.
        too_small: ‖Δw‖/‖w‖ of one step at which a hundred thousand steps, all in one direction, replace the weight once.
            Measured: nothing is learnt in 120 steps at ten times that; careful fine-tuning (AdamW at 1e-6 on weights of 0.02)
            is five times above.
        slow: the same in a run whose loss has not left its level: the lower end of what is usual. In its first steps more, as
            long as the weights have not gone 3 % of their size.
        least_records: sampled steps in a row that must show too small updates; fewer have no trend that could be told from
            chance.
        least_steps: optimizer steps that these must span. Momentum builds up within this many, and a warm-up shows its rise.
        lasting: optimizer steps for which weights of few digits must have got updates most of which are rounded away; a start
            that is learned from has left it by then.
        largest_rate: if an optimizer that does not rescale needed a larger learning rate than this for a healthy update, the
            gradient is what is too small: the network has converged, or its gradient vanishes (IM202).
        hopeless_rate: if it needed a larger one than this from the first step on, the gradient was lost before it arrived: a
            loss that is divided by too much. A converged network that is trained on has a gradient ten to a thousand times
            that.
        risen: factor over the stretch by which updates that rise must have grown: a warm-up from next to nothing, and
            momentum that builds up (0.9 multiplies by ten), do; a gradient that drifts does not.
        rising_pairs: share of growing pairs of records from which updates count as rising; noise gives 0.5 ± 0.11.
        tail: a learning rate below this part of the largest one in the window is on its way down, as schedules end.
    """

    code: ClassVar[str] = "IM603"
    name: ClassVar[str] = "update-ratio"
    yields_to: ClassVar[tuple[str, ...]] = ("IM604", "IM101", "IM102", "IM201", "IM202", "IM701")
    follows: ClassVar[tuple[str, ...]] = SIGNAL
    source: ClassVar[str] = (
        "Measured (see the thresholds of this rule); Karpathy 2019, 'A recipe for training neural networks'"
    )

    too_large: float = 0.3
    often: int = 3
    latest: int = 10
    too_small: float = 1e-5
    slow: float = 1e-4
    least_records: int = 8
    least_steps: int = 20
    lasting: int = 50
    largest_rate: float = 1.0
    hopeless_rate: float = 1e4
    risen: float = 2.0
    rising_pairs: float = RISING_PAIRS
    tail: float = 0.5

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding."""
        judged = judged_weights(history)
        if judged:
            finding = (
                unfit_steps.at_once(history, judged, self._finding)
                or self._large(history, judged)
                or self._small(history, judged)
                or self._lost(history, judged)
                or unfit_steps.found(history, judged, self._finding)
            )
            if finding is not None:
                yield finding

    def leaves(self, finding: Finding, other: Finding, structure: Structure) -> frozenset[str]:
        """Return the whole network (``""``) where another finding explains the size of its steps."""
        return frozenset(finding.layers or ("",)) if self.comes_of(finding, other, structure) else frozenset()

    def comes_of(self, finding: Finding, cause: Finding, structure: Structure) -> bool:
        """Say whether the size of the steps follows from the signal: it explodes, or fades in the weights that the median is of.

        One step that is alone comes before what is seen from that step on; gradients that are never zeroed have no other cause.
        """
        if unfit_steps.PILED_UP in finding.evidence:
            return False
        if unfit_steps.AT_STEP in finding.evidence:
            return cause.step < finding.evidence[unfit_steps.AT_STEP]
        if "shrinking" in finding.evidence:
            return cause.code in FADING
        small = finding.evidence.get("update_ratio", math.inf) < finding.expected.get("update_ratio", 0.0)
        if FAINT in finding.evidence or (small and (READ in cause.evidence or cause.severity is Severity.CRITICAL)):
            weights = [layer.name for layer in structure.layers if layer.role is Role.WEIGHT]
            named = places_of(cause, structure).intersection(weights)
            return READ in cause.evidence or (cause.code in FADING and len(named) >= MOST * len(weights))
        return cause.code in EXPLODING and too_large(finding)

    def _large(self, history: History, judged: frozenset[str]) -> Finding | None:
        latest = [
            pace for r in history.records[-self.latest :] if (pace := pace_of(r, judged, history.structure)) is not None
        ]
        over = [pace.low for pace in latest if self.too_large < pace.low < math.inf]
        growth, steps = growth_of(history)
        overturned = growth >= made_by_training.OVERTURNED
        if len(over) < self.often and not overturned:
            return None
        record, parts = history.last, []
        measured: dict[str, Figure] = {}
        if len(over) >= self.often:
            typical = median(over)
            parts.append(
                f"In {len(over)} of the last {len(latest)} sampled steps the median layer changed by"
                f" {phrases.part(typical)} its own size in one step: such a step replaces what the ones before have learnt."
            )
            measured["update_ratio"] = Figure(typical, "‖Δw‖/‖w‖ per step")
            measured["records"] = Figure(len(over), f"of the last {len(latest)} sampled steps")
        if overturned:
            parts.append(f"In {phrases.count(steps, 'step')} the weights have become {phrases.times(growth)} as large.")
            measured["growth"] = Figure(growth, f"× in {phrases.count(steps, 'step')}")
        # The first of these steps is the one that the initial weights were made for; later ones are relative to grown ones.
        per_step = over[0] if len(over) >= self.often else growth / steps
        severity = Severity.CRITICAL if overturned else Severity.WARNING
        return replace(
            self._finding(history, severity, f"{_optimizer(record)}: {' '.join(parts)}", measured),
            expected={"update_ratio": Figure(self.too_large, "‖Δw‖/‖w‖ per step, or less")},
            remedy=made_by_training.less_decay(history, per_step)
            or outsized_loss.before_the_rate(history) + learning_rate.slower(history, per_step),
        )

    def _small(self, history: History, judged: frozenset[str]) -> Finding | None:
        # Updates without effect were too small; with an effect they would only be careful.
        level = learning_of(history) is Learning.LEVEL
        bar = slowness.least_pace(history, judged, small=self.too_small, slow=self.slow)
        now = pace_of(history.last, judged, history.structure)
        if now is None or now.high >= bar:
            return None
        paces = paces_of((r for r in history.records if r.stepped), judged, history.structure)
        stretch = slowness.shortest(paces, self.least_records, self.least_steps)
        enough = sum(pace.high >= bar for pace in paces)
        if not stretch or enough >= self.often or max(pace.high for pace in stretch) >= bar:
            return None  # what was large enough before was so at a rate or a gradient that is no longer needed
        # What has risen for so long (momentum builds up within ten steps) and moved nothing is no start that is yet to come.
        rising = not level and self._rises(stretch)
        late = slowness.usable_after(stretch) if level else 0.0
        if rising or (late <= slowness.LONGEST_START and self._scheduled(paces, stretch)):
            return None
        record, ratio = history.last, median([pace.high for pace in stretch])
        pull = pull_of(stretch)
        began = history.records[0]
        faint = pull < USUAL_UPDATE / self.hopeless_rate and began.step == 0
        if level and began.step == 0 and pull < USUAL_UPDATE / self.largest_rate:
            # What was drawn anew has not converged.
            faint = faint or slowness.is_as_drawn(began, history.structure, judged)
        if ratio == 0 or (pull < USUAL_UPDATE / self.largest_rate and not faint):
            return None
        steps = stretch[-1].record.step - stretch[0].record.step
        message = (
            f"{_optimizer(record)}: for {phrases.count(steps, 'step')} the median layer has changed by"
            f" {phrases.part(ratio)} its own size per step. At this pace it takes {phrases.number(1 / ratio)} steps to"
            " replace the initial weights."
        )
        if late > slowness.LONGEST_START:
            message += f" The rate rises so slowly that steps will be of a usable size at step {phrases.number(late)}."
        short = slowness.short_of_its_rate(history, judged)
        if short > 0:
            message += f" That is {phrases.part(short)} what the rate gives: {unfit_steps.swallowed(record)}."
        slow = slowness.slow_layers(record, history, judged, bar) if "," in record.optimizer else ()
        if slow:
            message += (
                f" Of the network, {phrases.names(slow)} hardly move: look at the optimizer that has these weights."
            )
        if faint:
            message += (
                f" The gradient is {phrases.part(pull)} the size of the weights: no usual rate compensates for that."
            )
        return replace(
            self._finding(
                history,
                Severity.WARNING,
                message,
                {
                    "update_ratio": Figure(ratio, "‖Δw‖/‖w‖ per step"),
                    "records": Figure(len(stretch), "sampled steps in a row"),
                    "steps": Figure(steps, "optimizer steps"),
                }
                | ({FAINT: Figure(pull, "of the size of the weights")} if faint else {}),
            ),
            layers=slow,
            expected={"update_ratio": Figure(bar, "‖Δw‖/‖w‖ per step, or more")},
            remedy=unfit_steps.LOST
            if faint
            else unfit_steps.whole_steps(history, short)
            if short > 0
            else (standing_still.WARM_UP if late > slowness.LONGEST_START else "")
            + learning_rate.faster(history, ratio),
        )

    def _lost(self, history: History, judged: frozenset[str]) -> Finding | None:
        """Return the finding about weights of few digits, to which most of every update is too small to be added."""
        latest = [record for record in history.records if record.stepped][-self.least_records :]
        still = list(takewhile(lambda record: self._is_still(record, judged), reversed(history.records)))
        if len(still) >= self.least_records and still[0].step - still[-1].step >= self.least_steps:
            return self._still(still, history, judged)
        if len(latest) < self.least_records or latest[-1].step - latest[0].step < self.lasting:
            return None
        rounded = slowness.rounded_away(latest, history, judged)
        if rounded is None:
            return None
        dtype, ratio = rounded
        steps, half = latest[-1].step - latest[0].step, format_of(dtype).spacing / 2
        message = (
            f"{_optimizer(history.last)}: for {phrases.count(steps, 'step')} an update has been {phrases.part(ratio)} the size of its"
            f" weight in half of the layers, and {dtype} rounds away what is less than {phrases.number(half)} of a number when it"
            " is added: most of it is lost."
        )
        measured = {
            "update": Figure(ratio, "‖Δw‖/‖w‖ per step, before rounding"),
            "steps": Figure(steps, "optimizer steps"),
        }
        return replace(
            self._finding(history, Severity.WARNING, message, measured),
            expected={"update": Figure(half, "‖Δw‖/‖w‖ per step, or more")},
            remedy=snippets.advice(IN_MORE_DIGITS, MIXED),
        )

    def _still(self, still: Sequence[StepRecord], history: History, judged: frozenset[str]) -> Finding | None:
        """Return the finding about weights of few digits that have not changed at all, although there is a gradient."""
        held = {layer.dtype for layer in history.structure.layers if layer.weight in judged}
        paces = paces_of(still, judged, history.structure)
        # A zero gradient changes nothing in any format, and a step that the scaler skipped is not a lost update.
        scaled = any(record.loss_scaled for record in still)
        if len(held) != 1 or not held <= slowness.FEW_DIGITS or scaled or not all(pace.pull > 0 for pace in paces):
            return None
        (dtype,), record, steps = held, history.last, still[0].step - still[-1].step
        spacing = format_of(dtype).spacing
        message = (
            f"{_optimizer(record)}: for {phrases.count(steps, 'step')} the median layer has not changed at all, although there"
            f" is a gradient. {dtype} tells numbers apart to {phrases.number(spacing)} of their size, and what is less than"
            " half of that is rounded away when it is added."
        )
        # What plain gradient descent would have added; one that rescales the gradient adds about its rate.
        ratio = record.learning_rate * pull_of(paces)
        finding = self._finding(
            history,
            Severity.WARNING,
            message,
            {"update_ratio": Figure(0.0, "‖Δw‖/‖w‖ per step"), "steps": Figure(steps, "optimizer steps")},
        )
        return replace(
            finding,
            expected={"update_ratio": Figure(self.too_small, "‖Δw‖/‖w‖ per step, or more")},
            remedy=learning_rate.faster(history, ratio)
            if ratio < self.too_small
            else snippets.advice(IN_MORE_DIGITS, MIXED),
        )

    def _is_still(self, record: StepRecord, judged: frozenset[str]) -> bool:
        """Say whether half of the weights did not move at all in a step, and none by enough to learn."""
        inside = [name in judged for name in record.parameter_names]
        moved = record.column(Quantity.UPDATE_RATIO)[inside]
        moved = moved[~np.isnan(moved)]
        return bool(record.learning_rate > 0 and moved.size and median(moved) == 0 and moved.max() < self.too_small)

    def _rises(self, stretch: Sequence[Pace]) -> bool:
        """Say whether the updates are growing by more than noise: a warm-up, or a network that leaves a plateau."""
        ratios = np.array([pace.high for pace in stretch])
        return bool(rising_share(ratios) >= self.rising_pairs and ratios[-1] >= self.risen * ratios[0])

    def _scheduled(self, paces: Sequence[Pace], stretch: Sequence[Pace]) -> bool:
        """Say whether the learning rate is rising, or on its way down from one that the window no longer shows."""
        rates = [pace.record.learning_rate for pace in stretch]
        if rates[-1] > rates[0]:
            return True
        largest = max((pace.record.learning_rate for pace in paces), default=math.nan)
        return paces[0].record.step > 0 and rates[-1] < self.tail * largest

    def _finding(self, history: History, severity: Severity, message: str, measured: Mapping[str, Figure]) -> Finding:
        record = history.last
        rate = {"learning_rate": Figure(record.learning_rate)} if math.isfinite(record.learning_rate) else {}
        return Finding(
            rule=self.name,
            code=self.code,
            severity=severity,
            layers=(),
            step=record.step,
            message=message,
            evidence={**measured, **rate},
            source=self.source,
        )


def _optimizer(record: StepRecord) -> str:
    rate = f" at a learning rate of {phrases.number(record.learning_rate)}"
    return f"{record.optimizer or 'The optimizer'}{rate if math.isfinite(record.learning_rate) else ''}"
