"""A better learning rate: the current one, times the factor that would give an update of a healthy size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from init_monitor.analysis.optimizers import optimizer_code
from init_monitor.analysis.pace import HEALTHY_UPDATE, judged_weights, pace_of
from init_monitor.remedies import snippets

if TYPE_CHECKING:
    from init_monitor.records import History, StepRecord

AIM = math.sqrt(math.prod(HEALTHY_UPDATE))
"""‖Δw‖/‖w‖ to aim at: the middle of what is healthy, in logarithm."""

SMALLEST_SHARE = 1e-6
"""If the rate had to shrink by more than this, the rate is not the cause: the gradient has exploded."""

EXPLODED = (
    "No learning rate can offset a gradient of this size: first fix what the other findings name (initialisation, the"
    " scale of the input), or clip the gradient."
)


def slower(record: StepRecord, ratio: float) -> str:
    """Return a remedy for steps that change the weights by ``ratio`` of their size, which is too much."""
    sentence = (
        "Lower the learning rate to where a step changes the weights by a few thousandths of their size, warm it up, and"
        " clip the gradient."
    )
    rate = _rate(record, ratio)
    if not math.isnan(rate) and rate < SMALLEST_SHARE * record.learning_rate:
        return EXPLODED
    return _advice(sentence, " Judging by the first of these steps, that is about {}.", record, rate)


def faster(record: StepRecord, ratio: float) -> str:
    """Return a remedy for steps that change the weights by ``ratio`` of their size, which is too little."""
    sentence = "Raise the learning rate until a step changes the weights by about a thousandth of their size."
    return _advice(sentence, " Judging by these steps, that is about {}.", record, _rate(record, ratio))


def rate_of_the_start(history: History) -> float:
    """Return the rate at which the first step that was too large would have been of a healthy size; NaN if none was."""
    judged = judged_weights(history)
    for record in history.records:
        pace = pace_of(record, judged)
        if pace is not None and HEALTHY_UPDATE[1] < pace.low < math.inf:
            rate = _rate(record, pace.low)
            return rate if rate >= SMALLEST_SHARE * record.learning_rate else math.nan
    return math.nan


def all_were_small(history: History) -> bool:
    """Say whether the steps were measured and none of them was too large."""
    judged = judged_weights(history)
    paces = [pace for record in history.records if (pace := pace_of(record, judged)) is not None]
    return bool(paces) and all(pace.low <= HEALTHY_UPDATE[1] for pace in paces)


def _rate(record: StepRecord, ratio: float) -> float:
    """Return the rate to one digit; NaN if it is not known."""
    rate = record.learning_rate * AIM / ratio if ratio > 0 else math.nan
    return float(f"{rate:.0e}") if math.isfinite(rate) and rate > 0 else math.nan


def _advice(sentence: str, told: str, record: StepRecord, rate: float) -> str:
    if math.isnan(rate):
        return sentence
    return snippets.advice(sentence + told.format(f"{rate:g}"), optimizer_code(record.optimizer, rate))
