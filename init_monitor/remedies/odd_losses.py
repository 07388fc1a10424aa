"""The findings of IM802 about a loss whose shape is odd: it jumps both ways, it falls faster and faster, it has lost what it had gained."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

from init_monitor.analysis.learning import Learning, course_of, is_still_guessing, learning_of, plays
from init_monitor.analysis.loss_shapes import falls_faster, jumps, newest_level, regained, same_number
from init_monitor.analysis.lost_samples import ends_of
from init_monitor.analysis.medians import median
from init_monitor.analysis.pace import USUAL_UPDATE, judged_weights, paces_of
from init_monitor.records import Figure, Finding, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import learning_rate, phrases, snippets
from init_monitor.remedies.named_rule import CitedRule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.records import History, StepRecord


class _Rule(CitedRule, Protocol):
    @property
    def steps(self) -> int: ...
    @property
    def unlikely(self) -> float: ...
    @property
    def grown(self) -> float: ...
    @property
    def slope_left(self) -> float: ...
    @property
    def promised(self) -> float: ...


def undone(rule: _Rule, history: History) -> Finding | None:
    """Return the finding about a loss that had fallen, and is back at once: at that of guessing, or where no slope is left."""
    course, losses = course_of(history.losses), history.losses
    if not math.isfinite(course.newest) or plays(history.records):
        return None
    guessing = is_still_guessing(course, history.structure)
    slope = 1.0 if guessing else _slope_left(history)
    if not guessing and not (course.last >= course.first and slope <= rule.slope_left):
        return None
    found = regained(losses, rule.steps)
    if found is None:
        return None
    now = phrases.number(course.last)
    where = f"it is that of guessing ({now})" if guessing else f"it is back at {now}, no better than at the start"
    flat = ""
    if not guessing:
        left = f"The gradient is {phrases.part(slope)} what it was then" if slope > 0 else "No gradient is left"
        flat = f" {left}: where the network has got to there is no slope to come back by."
    return _finding(
        rule,
        history,
        f"What was learned is lost: the loss had fallen to {phrases.number(found.low)}, and since step {found.leap} {where}.{flat}",
        {"loss": Figure(course.last, "over the last steps")}
        | ({} if guessing else {"gradient_left": Figure(slope, "of the gradient at the first record")}),
        {"loss": Figure(found.low, "as it was before")},
        _back_to_before(found.leap, history, guessing=guessing),
    )


def _back_to_before(leap: int, history: History, *, guessing: bool) -> str:
    """Return what to do about a loss that is back since a step: a lower rate, if the steps until then were all large."""
    judged = judged_weights(history)
    until = [pace for pace in paces_of(history.records, judged, history.structure) if 0 < pace.record.step <= leap]
    pace = min((pace.low for pace in until[-FEW:]), default=math.nan)
    if len(until) >= FEW and pace >= FAST * USUAL_UPDATE:
        lower = learning_rate.slower(history, pace)
        words, _, code = lower.partition("\n\n")
        before = f" Each step until then changed the weights by {phrases.percent(pace)} of their size, where {phrases.percent(USUAL_UPDATE)} is usual."
        return snippets.advice(f"{words}{before} Go back to a checkpoint from before step {leap}.", code)
    return snippets.advice(
        f"Look at step {leap}: a learning rate that rises there, a batch unlike the others, a gradient that was not clipped"
        + ("" if guessing else ", a ratio or an exponential in the loss that nothing bounds (clip it)")
        + ". Go back to a checkpoint from before it.",
        learning_rate.CLIP,
    )


def _slope_left(history: History) -> float:
    """Return the size of the gradient over the latest two records, as a part of that at the first: the larger of two medians."""
    first, latest = history.records[0], history.records[1:][-2:]
    if first.step > 0 or len(latest) < len("ab"):
        return math.nan
    return max(_part_of(record, first) for record in latest)


def _part_of(record: StepRecord, first: StepRecord) -> float:
    before = dict(
        zip(first.parameter_names, first.column(Quantity.WEIGHT_GRADIENT_NORM).astype(float).tolist(), strict=True)
    )
    now = zip(record.parameter_names, record.column(Quantity.WEIGHT_GRADIENT_NORM).astype(float).tolist(), strict=True)
    parts = [norm / before[name] for name, norm in now if before.get(name, 0.0) > 0 and math.isfinite(norm)]
    return median(parts) if parts else math.nan


def falling_faster(rule: _Rule, history: History) -> Finding | None:
    """Return the finding about a loss far below 0 that falls faster and faster, because something multiplies it more and more.

    The gradient of the output grows along with it, the rate does not.
    """
    course = course_of(history.losses)
    known = bool(course.known) and math.isfinite(course.newest) and history.losses.steps[0] == 0
    level = newest_level(history.losses)
    sunk = -level / max(abs(course.start), 1.0) if known else 0.0
    first, last = history.records[0], history.last
    rates = [record.learning_rate for record in history.records if 3 * record.step >= last.step]
    if not sunk > rule.unlikely or first.step > 0 or plays(history.records) or not falls_faster(history.losses):
        return None
    # Behind the last weights a softmax may be called, which no layer with weights reads.
    ends = list(ends_of(history.structure)) or [x for x in history.structure.layers if x.role is Role.WEIGHT][-1:]
    grown = max((_growth(layer.name, first, last) for layer in ends), default=math.nan)
    if not grown >= rule.grown or not last.learning_rate <= min(rates):
        return None
    return _finding(
        rule,
        history,
        f"The loss falls without end, and faster and faster: {phrases.number(course.start)} at the start,"
        f" {phrases.number(level)} now. The gradient that the output gets from it has become {phrases.times(grown)} as large:"
        " what multiplies the loss, or a term of it, grows.",
        {
            "loss": Figure(level, "over the last steps"),
            "gradient_growth": Figure(grown, "×, of the output's gradient"),
        },
        {"loss": Figure(0.0, "or above, for an error")},
        "Look at the sign of every term that a learned number multiplies (a temperature, the weight of a loss term): minimised along with the"
        " loss, it grows without end where its sign is wrong or nothing weighs against it. log_alpha * (entropy - target) brings an"
        " entropy down to its target; with the opposite sign it drives it away, and a target that cannot be reached (an entropy above the"
        " logarithm of the number of actions) does so with the right one. What is minimised has to have a lowest value.",
    )


def _growth(name: str, first: StepRecord, last: StepRecord) -> float:
    """Return the factor by which the rms of an output's gradient has grown."""
    if name not in first.names or name not in last.names:
        return 0.0
    before, now = (record.layer_table.at(name, Quantity.GRADIENT_MEAN_SQUARE) for record in (first, last))
    return math.sqrt(now / before) if before > 0 and now >= 0 else 0.0


def unmoved(rule: _Rule, history: History) -> Finding | None:
    """Return the finding about a loss that is the same number at every step, although its gradient moves the network.

    A loss over its own detached value is a whole number by design (1 for each term), and so is one whose weights add up to 0.
    """
    level = same_number(history.losses)
    if level is None or round(level) == level or plays(history.records):
        return None
    latest = [promised(record) / abs(level) for record in history.records if record.stepped][-FEW:]
    if len(latest) < FEW or not min(latest) >= rule.promised:
        return None
    return _finding(
        rule,
        history,
        f"The loss is {phrases.number(level)} at every one of {len(history.losses)} steps, to the last digit, although it has a gradient that"
        f" moves the network, by which a step may change it by up to {phrases.percent(median(latest))}: what it is compared with moves"
        " along with it, and nothing holds it back.",
        {
            "loss": Figure(level, "at every step"),
            "promised": Figure(median(latest), "of it, by which a step may change it"),
        },
        {"promised": Figure(rule.promised, "or less, of a loss that stays the same")},
        "Look at what the loss compares the network with. A reference, a teacher or a target network has to be a copy that stays as it was"
        " (copy.deepcopy(model).requires_grad_(False), made once), not the network itself under no_grad() or behind detach().",
    )


FEW = 3
"""Sampled steps that must agree."""

FAST = 5.0
"""Times the usual size of a step from which a run that has lost what it had learned was too fast all along: sixty such steps replace
a weight."""


def promised(record: StepRecord) -> float:
    """Return by how much a step may change the loss, to first order: ‖g‖ · ‖Δw‖ of all parameters together (Cauchy-Schwarz)."""
    slopes, sizes, ratios = (
        np.nan_to_num(record.column(quantity).astype(float))
        for quantity in (Quantity.WEIGHT_GRADIENT_NORM, Quantity.WEIGHT_NORM, Quantity.UPDATE_RATIO)
    )
    return float((slopes * sizes * ratios).sum())


def jumping(rule: _Rule, history: History) -> Finding | None:
    """Return the finding about a loss that jumps far up and far down, to below 0, over and over."""
    found = jumps(history.losses)
    if found is None or plays(history.records) or learning_of(history) is Learning.LEARNS:
        return None
    course = course_of(history.losses)
    if not math.isfinite(course.newest):
        return None
    return _finding(
        rule,
        history,
        f"The loss jumps both ways: of its last {found.of} values {found.above} lie far above its usual {phrases.number(found.usual)} (up to"
        f" {phrases.number(found.high)}) and {found.below} far below (down to {phrases.number(found.low)}). No error does so, nor does a"
        " likelihood: that is a ratio whose denominator comes close to 0 on either side.",
        {
            "far_off": Figure(found.above + found.below, f"of the last {found.of} losses"),
            "lowest": Figure(found.low),
            "highest": Figure(found.high),
        },
        {"far_off": Figure(0.0, "losses")},
        "Look at what the loss divides by. A Dice or IoU loss takes probabilities: put a sigmoid (or a softmax) between the last layer and"
        " it, so that neither sum can be negative. Keep other denominators away from 0 (clamp, or an eps larger than their noise), and"
        " their sign the same.",
    )


def _finding(  # noqa: PLR0913, PLR0917 - the parts of a finding
    rule: _Rule,
    history: History,
    message: str,
    evidence: Mapping[str, Figure],
    expected: Mapping[str, Figure],
    remedy: str,
) -> Finding:
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=Severity.WARNING,
        layers=(),
        step=max(history.last.step, int(np.max(history.losses.steps))),
        message=message,
        evidence=dict(evidence),
        expected=dict(expected),
        remedy=remedy,
        source=rule.source,
    )
