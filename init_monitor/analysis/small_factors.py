"""Outputs that are multiplied with each other and so small that the gradient of each is as good as none: a start at a saddle."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.learning import Learning, learning_of
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import History, Layer, StepRecord, Structure

SMALL = 1e-2
"""rms of an output from which it is small: a hundredth of a unit signal, and the product of two is a ten-thousandth."""

UNNOTICED = 1e-3
"""Σ ‖g‖·‖w‖ over the loss, which bounds what a change of every weight by its own size makes of it: healthy networks of this
repository's benchmarks have 0.1 to 500, and 1 is that of a loss that is proportional to one of its weights."""

IDLE = 1e-6
"""Σ ‖g‖·‖Δw‖ over the loss, which bounds what one step makes of it, in the first order: a million such steps lower it once."""

RECORDS, STEPS = 8, 50
"""Sampled steps, and optimizer steps they span from the first of the run, that must all show it: Adam, whose steps do not know how small a
gradient is, has left such a start by then."""


class SmallFactors(NamedTuple):
    """A network that stands at a saddle since its start.

    Attributes:
        layers: whose outputs are small, and go into no other layer.
        rms: of the largest of them.
        noticed: what a change of every weight by its own size makes of the loss, at most, as a part of it; the largest of all records.
        step: and what a step makes of it.
    """

    layers: tuple[Layer, ...]
    rms: float
    noticed: float
    step: float


def small_factors(history: History) -> SmallFactors | None:
    """Return the outputs that hold each other's gradient down since the start; ``None`` if there are none, or the run learns."""
    records = [record for record in history.records if record.parameter_names]
    if len(records) < RECORDS or records[0].step > 0 or records[-1].step < STEPS:
        return None
    layers = _ends(history.structure)
    # Two at least: one output alone that is small (a last layer that starts at zero) is a usual start, and gets its gradient.
    if len(layers) < 2 or learning_of(history) is Learning.LEARNS:  # noqa: PLR2004 - a product has two factors
        return None
    noticed, step, rms = 0.0, 0.0, 0.0
    for record in records:
        weight, update = _bounds(record)
        noticed, step = max(noticed, weight), max(step, update)
        rms = max(rms, *(_rms(record, layer) for layer in layers))
        if not (0 < weight < UNNOTICED and update < IDLE and rms < SMALL):
            return None
    return SmallFactors(layers, rms, noticed, step)


def _ends(structure: Structure) -> tuple[Layer, ...]:
    """Return the weight layers that no other layer reads; each once, however often it is called."""
    read = {name for layer in structure.layers for name in layer.inputs}
    read |= {name for residual in structure.residuals for name in (residual.skip, residual.branch)}
    found = {x.module: x for x in structure.layers if x.role is Role.WEIGHT and x.name not in read}
    return tuple(found.values())


def _rms(record: StepRecord, layer: Layer) -> float:
    """Return that of an output; infinity if it was not measured."""
    square = record.layer_table.at(layer.name, Quantity.MEAN_SQUARE)
    return math.sqrt(square) if square >= 0 else math.inf


def _bounds(record: StepRecord) -> tuple[float, float]:
    """Return Σ ‖g‖·‖w‖ and Σ ‖g‖·‖Δw‖ over the loss; NaN where it is not known."""
    gradients, weights, ratios = (
        record.column(one) for one in (Quantity.WEIGHT_GRADIENT_NORM, Quantity.WEIGHT_NORM, Quantity.UPDATE_RATIO)
    )
    trained = record.column(Quantity.TRAINABLE) != 0
    loss = abs(record.loss)
    if not (loss > 0 and trained.any() and np.isfinite(gradients[trained]).all()):
        return math.nan, math.nan
    own = gradients[trained] * weights[trained]
    return float(own.sum()) / loss, float((own * ratios[trained]).sum()) / loss
