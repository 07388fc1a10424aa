"""Rates that do not fit by what came of them: first steps that the loss never recovered from, and a loss that creeps."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.analysis import slowness
from init_monitor.analysis.fitting_rate import fitting_rate
from init_monitor.analysis.learning import CLEAR, LONG, Learning, course_of, guessing_loss, learning_of, plays
from init_monitor.analysis.medians import median
from init_monitor.analysis.pace import HEALTHY_UPDATE, paces_of
from init_monitor.records import Figure, Severity
from init_monitor.remedies import learning_rate, phrases, snippets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from init_monitor.records import Finding, History

    MakeFinding = Callable[[History, Severity, str, Mapping[str, Figure]], Finding]

FIRST_STEPS, FEW_LARGE = 10, 2
"""First steps, the default dense start, and how many of them have to be large: the first one of Adam moves every weight by its rate,
whatever the gradient."""

FAR_BELOW = 100.0
"""Factor by which a rate is below the one that fits from which it is not careful but far off: what fits is a third of the loss in one
step, and the rates at which a training does well span one decade and a half around it."""

LEAST_RECORDS = 8
"""Sampled steps in a row from which a schedule is judged, as updates that are too small are (IM603)."""

LARGEST_BASE = 0.1
"""Rate up to which that is said: of a schedule that multiplies a rate of more than this, its factors may well be smaller than the rate."""

SAME = 1e-6
"""Part by which two rates that were computed alike may differ: Python's own numbers have sixteen digits."""

BELOW_GUESSING = 0.5
"""Part of what guessing costs at or above which a network starts that knows nothing; noise of a batch does not halve it."""


def squared(history: History, judged: frozenset[str], make: MakeFinding) -> Finding | None:
    """Return the finding about a schedule whose factor is at most the rate that it multiplies: it returns the rate itself.

    A warm-up has small factors, too, and they rise; a factor that has come to its end below the rate is no warm-up. One that has not
    moved yet has to be the rate exactly.
    """
    records = [record for record in history.records if record.stepped and record.learning_rate > 0]
    base = max((record.initial_rate for record in records), default=math.nan)
    if history.records[0].step > 0 or len(records) < LEAST_RECORDS or not 0 < base <= LARGEST_BASE:
        return None
    factors = [record.learning_rate / base for record in records]
    most, now = max(factors), factors[-1]
    moved = most > min(factors) * (1 + SAME)
    if most > base * (1 + SAME) or (now >= most * (1 - SAME) if moved else abs(now / base - 1) > SAME):
        return None
    paces = paces_of(records, judged, history.structure)
    typical = median([pace.high for pace in paces]) if paces else math.nan
    if not typical < HEALTHY_UPDATE[0]:
        return None
    message = (
        f"{history.last.optimizer} was given a learning rate of {phrases.number(base)}, and its schedule has made at most"
        f" {phrases.number(most * base)} of it, {phrases.number(most)} times that: the schedule returns a rate where a factor is"
        f" wanted, so that the rate is multiplied with itself. The median layer changes by {phrases.part(typical)} its own size per step."
    )
    sentence = (
        "LambdaLR multiplies the optimizer's learning rate by what the lambda returns: have it return a factor that is 1 at its largest,"
        " not the learning rate itself."
    )
    code = (
        "from torch.optim.lr_scheduler import LambdaLR\n\n"
        f"# in configure_optimizers, where rate_at(step) is what the lambda returns now:\n"
        f"# schedule = LambdaLR(optimizer, lambda step: rate_at(step) / {base:g})  # a factor"
    )
    measured = {
        "update_ratio": Figure(typical, "‖Δw‖/‖w‖ per step"),
        "factor": Figure(most, "of the optimizer's rate, at most"),
    }
    return replace(
        make(history, Severity.WARNING, message, measured),
        expected={"factor": Figure(1.0, "at its largest")},
        remedy=snippets.advice(sentence, code),
    )


def never_recovered(history: History, judged: frozenset[str], make: MakeFinding) -> Finding | None:
    """Return the finding about first steps above what is usual, from which the loss has not come back below where it began."""
    early = [record for record in history.records if record.step < FIRST_STEPS]
    paces = paces_of(early, judged, history.structure)
    large = [pace for pace in paces if HEALTHY_UPDATE[1] < pace.low < math.inf]
    course = course_of(history.losses)
    if history.records[0].step > 0 or len(large) < FEW_LARGE or history.last.step < 2 * LONG - 1:
        return None
    if learning_of(history) is not Learning.LEVEL or not course.last >= course.start:
        return None
    typical = median([pace.low for pace in large])
    message = (
        f"In {len(large)} of the first {len(paces)} sampled steps the median layer changed by {phrases.part(typical)} its own size,"
        f" more than is usual, and the loss has not come below where it began ({phrases.number(course.start)},"
        f" {phrases.number(course.last)} now)."
    )
    measured = {
        "update_ratio": Figure(typical, "‖Δw‖/‖w‖ per step"),
        "records": Figure(len(large), f"of the first {len(paces)} sampled steps"),
        "at_step": Figure(large[0].record.step, "the first step that was that large"),
    }
    return replace(
        make(history, Severity.WARNING, message, measured),
        expected={"update_ratio": Figure(HEALTHY_UPDATE[1], "‖Δw‖/‖w‖ per step, or less")},
        remedy=learning_rate.slower(history, typical),
    )


def creeps(history: History, judged: frozenset[str], make: MakeFinding) -> Finding | None:
    """Return the finding about a rate far below the one that fits weights which have gone nowhere yet, and a loss that creeps.

    So it is of a loss that is too noisy to tell.
    """
    first, last = history.records[0], history.last
    rates = [record.learning_rate for record in history.records]
    if first.step > 0 or last.step < 2 * LONG - 1 or plays(history.records) or not 0 < last.learning_rate <= rates[0]:
        return None
    fitting, course = fitting_rate(history), course_of(history.losses)
    if not (fitting.agreed and fitting.value >= FAR_BELOW * max(rates)) or course.known < LONG:
        return None
    learning = learning_of(history)
    if not (learning is Learning.UNKNOWN or (learning is Learning.LEARNS and course.fall < CLEAR)):
        return None  # what does not even creep takes steps without effect: another finding
    knows = learning is Learning.UNKNOWN and course.start < BELOW_GUESSING * guessing_loss(history.structure)
    if knows or not slowness.is_as_drawn(first, history.structure, judged):
        return None  # what was trained before is tuned with care
    if not slowness.way_of(history, judged) < slowness.TRAVELLED:
        return None
    does = "the loss creeps" if learning is Learning.LEARNS else "the loss does not fall by more than its noise"
    paces = paces_of(history.records, judged, history.structure)
    typical, below = median([pace.high for pace in paces]), fitting.value / max(rates)
    message = (
        f"{last.optimizer} at a learning rate of {phrases.number(max(rates))}: {does} ({phrases.number(course.start)} at the"
        f" start, {phrases.number(course.last)} after {phrases.count(course.known, 'step')}), and the rate is 1/"
        f"{phrases.number(below)} of the one that fits the initial weights. The median layer changes by"
        f" {phrases.part(typical)} its own size per step."
    )
    return replace(
        make(history, Severity.WARNING, message, {"update_ratio": Figure(typical, "‖Δw‖/‖w‖ per step")}),
        expected={"update_ratio": Figure(typical * below, "‖Δw‖/‖w‖ per step, at the rate that fits")},
        remedy=learning_rate.faster(history, typical),
    )
