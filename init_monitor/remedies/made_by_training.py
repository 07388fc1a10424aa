"""Whether a layer was wrong from the start or became so in training: the remedies differ."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis.optimizers import optimizer_code
from init_monitor.analysis.segments import log_of
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import learning_rate, snippets

if TYPE_CHECKING:
    from init_monitor.records import Column, History, Layer, StepRecord

OVERTURNED = 10.0
"""A weight whose norm has grown by this factor is no longer the one it was initialised with: nine tenths of it are
updates."""

ORDERLY = 5.0
"""Factor by which a gain may have been off at the start for the weights to have been in order. Three times the standard
deviation, which is nine times the variance, is how networks are made to explode."""

CLIP = "trainer = pl.Trainer(gradient_clip_val=1.0)"
"""Keeps a single step from replacing the weights; written for Lightning."""


def made_by_training(first: Column, now: Column, healthy: Column, position: int, *, direction: int) -> bool:
    """Say whether what the weights give a signal was in order at the first record and is off at the last.

    At least half of the deviation, in logarithm, must have come about since the first record: a gain that was a little off
    at the start and became hopeless counts as made by training, one that was hopeless at the start does not.

    Args:
        first: gain that the weights gave at the first record of the window, by position.
        now: the same at the last one.
        healthy: the gain each layer needs.
        position: of the layer to look at.
        direction: 1 for a gain that is too large, -1 for one that is too small.
    """
    logs = [float(log_of(np.asarray([column[position]]))[0]) for column in (first, now, healthy)]
    if any(math.isnan(value) for value in logs):
        return False
    before, after, wanted = (direction * value for value in logs)
    if before - wanted > math.log(ORDERLY):
        return False
    return after > wanted and after - before > (after - wanted) / 2


def growth(history: History, layer: Layer) -> float:
    """Return how many times larger the weight of ``layer`` is than at the first record of the window; NaN if unknown."""
    first, now = (_norm(record, layer.weight) for record in (history.records[0], history.last))
    return now / first if first > 0 else math.nan


def told(history: History, *, direction: int) -> str:
    """Return the sentence that says so."""
    made = "large" if direction > 0 else "small"
    return f"At step {history.records[0].step} its weights were in order: training made them too {made}."


def remedy(history: History, *, direction: int) -> str:
    """Return what to do about it, in a sentence and in code."""
    if direction < 0:
        return "Lower the learning rate or the weight decay: the initial weights were fine."
    sentence = "Lower the learning rate (or warm it up) and clip the gradient: the initial weights were fine."
    rate = learning_rate.rate_of_the_start(history)
    if math.isnan(rate):
        return snippets.advice(sentence, CLIP)
    sentence += f" By the first step that was too large, a rate of about {rate:g} is right."
    code = (optimizer_code(history.last.optimizer, rate), CLIP)
    return snippets.advice(sentence, "\n".join(line for line in code if line))


def _norm(record: StepRecord, weight: str) -> float:
    if weight not in record.parameter_names:
        return math.nan
    return float(record.column(Quantity.WEIGHT_NORM)[record.parameter_names.index(weight)])
