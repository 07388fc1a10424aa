"""The learning rate that fits a network: from how far a step moves its weights, and how much of the loss it promises to take away.

Two measurements of one step at the initial weights bound the rate. A step should not replace what is there: ‖Δw‖/‖w‖. And to
first order it lowers the loss by the gradient times the step, which cannot be more than there is. The second is the step size of
Polyak (1987), for single batches that of Loizou et al. (2021). They err in opposite directions (weights that were drawn too large
take a large step well, a loss that starts too high promises much), and the rate between them, their geometric mean, is the one
that fits. Where a gradient is faint at first, the loss promises little of any step; Adam then takes none beyond the usual.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.pace import HEALTHY_UPDATE, judged_weights, least_norms
from init_monitor.analysis.stillness import expected_updates
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import Column, History, StepRecord, Structure

BY_SIZE = 0.03
"""‖Δw‖/‖w‖ in a step that fits, of the weights that move much: with a third of the loss, it puts the rate into what brings the loss
down as far as the best of eight rates over four decades do, in 94 % of 146 trainings by Adam and its kin and 75 % of 46 by SGD."""

MUCH = 0.75
"""Quantile of the weights, by how far they move, that is looked at. By the median, SGD blew up networks whose gradient fades: most
of their weights hardly move at first."""

BY_LOSS = 1 / 3
"""Part of the loss that a step that fits takes away to first order. Loizou et al. take all or twice of it for the largest stable
step."""

APART = 30.0
"""Factor between the two rates from which the one between them is a guess: it may be off by half a decade to either side, and
the rates at which a training does well span one."""

_ELEMENTWISE = ("adam", "rmsprop", "adagrad", "rprop")
"""Optimizers whose first step moves every element by about the rate (RMSprop's first few by more)."""

_SIGNED = ("lion", "sign")
"""Optimizers in which no step is smaller than that: noise does not cancel in a sign."""

_LAYERWISE = ("lamb", "lars")
"""Optimizers that move each weight by a part of its size which the rate alone sets (You et al. 2017, 2020): no noise makes a step smaller."""

SIGNED_SHARE = 0.2
"""What a rate of those is of Adam's: three to ten times smaller (Chen et al. 2023)."""

_ROUNDED = 1e-6
"""‖Δw‖/‖w‖ below which what was measured of a step is rounding, in float32, by more than a few hundredths."""


class FittingRate(NamedTuple):
    """The learning rate at which a step fits.

    Attributes:
        value: of the optimizer's rate; NaN if nothing is known.
        by_size: the rate at which a step changes weights by :data:`BY_SIZE` of their size; NaN if unknown.
        by_loss: the rate at which a step takes away :data:`BY_LOSS` of the loss, to first order; NaN if unknown.
        step: of the record that was judged by.
    """

    value: float = math.nan
    by_size: float = math.nan
    by_loss: float = math.nan
    step: int = 0

    @property
    def agreed(self) -> bool:
        """Whether both are known, at the start, and agree."""
        return self.step == 0 and 1 / APART <= self.by_size / self.by_loss <= APART


def fitting_rate(history: History) -> FittingRate:
    """Return the rate that fits the first record of a run that shows how far its steps go.

    >>> from init_monitor.records import History, StepRecord, Structure
    >>> math.isnan(fitting_rate(History((StepRecord(0, 0.0),), Structure(()))).value)
    True
    """
    judged = judged_weights(history)
    for record in history.records:
        found = _of(record, judged, history.structure)
        if math.isfinite(found.value):
            return found
    return FittingRate()


def _of(record: StepRecord, judged: frozenset[str], structure: Structure) -> FittingRate:
    inside = np.array([name in judged for name in record.parameter_names], dtype=bool)
    trained = record.column(Quantity.TRAINABLE) != 0
    norms, gradients = record.column(Quantity.WEIGHT_NORM), record.column(Quantity.WEIGHT_GRADIENT_NORM)
    moves = moves_of(record)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # A step is large or not beside the size that a layer needs, however near to 0 its weight began.
        sizes = (moves / np.fmax(norms, least_norms(record, structure)))[inside & trained & (norms > 0) & (moves > 0)]
        promised = float(np.nansum((moves * gradients)[trained]))
    # A quotient may be too small for its format although neither number is 0.
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    by_size = BY_SIZE / float(np.quantile(sizes, MUCH)) if sizes.size else math.nan
    by_loss = BY_LOSS * record.loss / promised if 0 < promised < math.inf and record.loss > 0 else math.nan
    both = [rate for rate in (by_size, by_loss) if 0 < rate < math.inf]
    value = math.exp(sum(map(math.log, both)) / len(both)) if 0 < by_size < math.inf else math.nan
    if any(name in record.optimizer.casefold() for name in _LAYERWISE):
        value = min(value, by_size)
    elif by_loss > APART * by_size and any(name in record.optimizer.casefold() for name in (*_ELEMENTWISE, *_SIGNED)):
        # A gradient that is faint at first promises little of any step. It grows, but these steps have their size from the rate.
        value = min(value, by_size * HEALTHY_UPDATE[1] / BY_SIZE)
    return FittingRate(value, by_size or math.nan, by_loss or math.nan, record.step)


def moves_of(record: StepRecord) -> Column:
    """Return ‖Δw‖ of each parameter per unit of learning rate, once momentum has built up; NaN where it is not known.

    Plain gradient descent moves by the gradient (by what a clip leaves of it), over 1 − momentum. It is stable up to a rate of
    2(1 + momentum)/sharpness (Polyak 1964): without momentum, half as far. Optimizers that divide the gradient by its own size move
    every element by the rate, or by less where an epsilon or what they remember outweighs it. Of others, what was measured counts.
    """
    optimizer = record.optimizer.casefold()
    gradients, counts = record.column(Quantity.WEIGHT_GRADIENT_NORM), record.column(Quantity.WEIGHT_COUNT)
    if "," in optimizer:
        return np.full(len(gradients), np.nan)
    per_element = np.sqrt(counts) * (gradients > 0)
    if any(name in optimizer for name in _SIGNED):
        return per_element / SIGNED_SHARE
    seen = _measured(record)
    if any(name in optimizer for name in _ELEMENTWISE):
        moved: Column = np.fmin(per_element, seen)
        return moved
    if "sgd" in optimizer:
        momentum = record.momentum if 0 <= record.momentum < 1 else 0.0
        return gradients * _left_by_clip(record) / ((1 - momentum) * (1 + momentum) / 2)
    return seen


def _measured(record: StepRecord) -> Column:
    """Return ‖Δw‖ of each parameter per unit of learning rate as it was measured; NaN where rounding outweighs it."""
    moved = record.column(Quantity.UPDATE_RATIO)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        per_unit = moved * record.column(Quantity.WEIGHT_NORM) / record.learning_rate
    known: Column = np.where((moved > _ROUNDED) & np.isfinite(per_unit), per_unit, np.nan)
    return known


def _left_by_clip(record: StepRecord) -> float:
    """Return the part of the gradient that a clip leaves, as the first step of plain SGD shows it; 1 if there is none to see."""
    if record.step > 0 or record.optimizer.casefold() != "sgd":
        return 1.0
    wanted, moved = expected_updates(record), record.column(Quantity.UPDATE_RATIO)
    seen = (wanted > _ROUNDED) & (moved > _ROUNDED)
    return min(1.0, float(np.median(moved[seen] / wanted[seen]))) if seen.any() else 1.0
