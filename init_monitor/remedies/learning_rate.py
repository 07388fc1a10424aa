"""A better learning rate: the one that fits the initial weights, as a value and a sentence that says what it was judged by."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.fitting_rate import BY_LOSS, BY_SIZE, fitting_rate
from init_monitor.analysis.optimizers import optimizer_code
from init_monitor.analysis.pace import HEALTHY_UPDATE, judged_weights, pace_of, paces_of
from init_monitor.remedies import phrases, snippets

if TYPE_CHECKING:
    from init_monitor.records import History, StepRecord

SMALLEST_SHARE = 1e-6
"""If the rate had to shrink by more than this, the rate is not the cause: the gradient has exploded."""

CLEAR = 3.0
"""Factor by which a rate that is advised differs at least from one that was seen to fail: half of the decade that the rates span at
which a training does well."""

FAR = 10.0
"""Factor that is taken where the rate that fits the initial weights was seen to fail: all of that decade."""

CLIP = "trainer = pl.Trainer(gradient_clip_val=1.0)"
"""Keeps a single step from replacing the weights; written for Lightning."""

EXPLODED = (
    "No learning rate can offset a gradient of this size: first fix what the other findings name (initialisation, the"
    " scale of the input), or clip the gradient."
)

FINDER = " This is a guess; Lightning's own rate finder (pl.tuner.Tuner(trainer).lr_find(module)) tries rates out."


class Advised(NamedTuple):
    """A learning rate to take.

    Attributes:
        value: to one digit; NaN if none is known.
        reason: a sentence that says how it was found; empty if there is none.
        leaps: the steps were too large at a rate that fits the initial weights, so that single ones leap.
    """

    value: float = math.nan
    reason: str = ""
    leaps: bool = False


def slower(history: History, ratio: float) -> str:
    """Return a remedy for steps that change the weights by ``ratio`` of their size, which is too much."""
    advised, now = _lower(history, ratio), history.last.learning_rate
    if advised.value < SMALLEST_SHARE * now:
        return EXPLODED
    return advice("Lower the learning rate", history, advised)


def as_it_began(history: History, at: StepRecord, ratio: float) -> str:
    """Return a remedy for one step, at ``at``, that alone was far too large by the rate that it was taken at: ``ratio`` of the weights.

    The rates after it say nothing about that one: they may be right, or far too low by then.
    """
    fitting, rate, now = fitting_rate(history), at.learning_rate, history.last.learning_rate
    wanted = fitting.value if 0 < fitting.value <= rate / CLEAR else max(now, rate * BY_SIZE / ratio)
    value = _digit(wanted)
    sentence = (
        f"A schedule that begins too high, or falls too soon to learn anything after it: begin anew with weights from before step {at.step},"
        f" at a learning rate of about {value:g}."
    )
    return snippets.advice(sentence, optimizer_code(history.last.optimizer, value))


def faster(history: History, ratio: float) -> str:
    """Return a remedy for steps that change the weights by ``ratio`` of their size, which is too little."""
    if "," in history.last.optimizer and ratio > 0:
        by = phrases.times(float(f"{BY_SIZE / ratio:.0e}"))
        return f"Raise the learning rate of the optimizer that these weights have, to about {by} what it is.{FINDER}"
    return advice(
        "Raise the learning rate", history, _advised(history, ratio, at_least=CLEAR * history.last.learning_rate)
    )


def rate_of_the_start(history: History) -> Advised:
    """Return the rate that fits the initial weights of a run of which a step was too large; of no value if none was."""
    judged = judged_weights(history)
    for record in history.records:
        pace = pace_of(record, judged, history.structure)
        if pace is not None and HEALTHY_UPDATE[1] < pace.low < math.inf:
            advised = _lower(history, pace.low)
            return advised if advised.value >= SMALLEST_SHARE * record.learning_rate else Advised()
    return Advised()


def before_it_rose(history: History) -> Advised:
    """Return the rate that fits, clearly below the one at which the loss began to rise."""
    return _advised(history, math.nan, at_most=_turned_at(history) / CLEAR)


def _turned_at(history: History) -> float:
    """Return the learning rate at the last of the lowest losses; the present one if it has not been raised since the start.

    Where a schedule raises it, the loss falls until it is too large, and rises from there (Smith 2017 finds rates in this way).
    """
    now, began = history.last.learning_rate, history.records[0].learning_rate
    losses = history.losses.values.astype(float)
    if not now > began > 0 or not np.isfinite(losses).any():
        return now
    lowest = int(history.losses.steps[np.nanargmin(np.where(np.isfinite(losses), losses, np.nan))])
    return next((r.learning_rate for r in history.records if r.step >= lowest), now)


def advice(sentence: str, history: History, advised: Advised, more: str = "") -> str:
    """Return a remedy: the sentence with the rate, why that one, more sentences, and the code.

    Args:
        sentence: without its full stop.
        history: what was measured.
        advised: the rate.
        more: sentences after the reason.
    """
    if math.isnan(advised.value):
        return f"{sentence}.{more}{FINDER}"
    code = optimizer_code(history.last.optimizer, advised.value)
    if advised.leaps:
        more = f" Clip the gradient, too: the initial weights bear a larger rate, so single steps leap.{more}"
        code = "\n".join(line for line in (code, CLIP) if line)
    peak = ", at the peak of its schedule," if _is_raised(history) else ""
    return snippets.advice(f"{sentence}{peak} to about {advised.value:g}.{advised.reason}{more}", code)


def _is_raised(history: History) -> bool:
    """Say whether a schedule has raised the learning rate since the first record."""
    return history.last.learning_rate > history.records[0].learning_rate


def all_were_small(history: History) -> bool:
    """Say whether the steps were measured and none of them was too large."""
    judged = judged_weights(history)
    paces = paces_of(history.records, judged, history.structure)
    return bool(paces) and all(pace.low <= HEALTHY_UPDATE[1] for pace in paces)


def _lower(history: History, ratio: float) -> Advised:
    return _advised(history, ratio, at_most=history.last.learning_rate / CLEAR)


def _advised(history: History, ratio: float, *, at_least: float = 0.0, at_most: float = math.inf) -> Advised:
    """Return the rate that fits within what is known of others; by the size of the steps taken if nothing else is known."""
    fitting, now = fitting_rate(history), history.last.learning_rate
    wanted = fitting.value if math.isfinite(fitting.value) else now * BY_SIZE / ratio if ratio > 0 else math.nan
    if not 0 < wanted < math.inf:
        return Advised()
    if not at_least <= wanted <= at_most:
        # What was judged by is contradicted by what came of a rate.
        leaps = wanted > at_most
        value = _digit(at_most * CLEAR / FAR if leaps else at_least / CLEAR * FAR)
        return Advised(value, f" That is {phrases.part(value / now)} what it is.{FINDER}", leaps)
    value = _digit(wanted)
    if math.isnan(fitting.value):
        return Advised(value, f" A step then changes a weight by about {_percent(BY_SIZE)} of its size.{FINDER}")
    size, taken = BY_SIZE * value / fitting.by_size, BY_LOSS * value / fitting.by_loss
    reason = f" By the gradient of step {fitting.step}, such a step changes a weight by {_percent(size)} of its size"
    if 0 < taken <= 1:
        reason += f" and lowers the loss by up to {_percent(taken)}"
    return Advised(value, f"{reason}.{'' if fitting.agreed else FINDER}")


def _digit(rate: float) -> float:
    return float(f"{rate:.0e}")


def _percent(share: float) -> str:
    return f"{float(f'{100 * share:.1g}'):g} %"
