"""Normalisations that go by a running mean and variance which do not fit what they get: they normalise nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import Layer, StepRecord, Structure

OFF = 4.0
"""Factor by which the variance that such a layer gives may differ from the square of its scale: half or twice the standard deviation
is what a network that is tuned on data of another kind gets."""

MOST = 0.5
"""Share of such layers that have to be off: one alone may stand beside a path that hardly anything passes."""


class Running(NamedTuple):
    """What the running statistics of a network's normalisations leave of the signal.

    Attributes:
        layers: all normalisations that go by them, in execution order.
        worst: the one whose output is furthest from its scale.
        variance: of its output.
        scale: what it would be if the mean and variance were those of what it gets: the mean square of its weight.
    """

    layers: tuple[Layer, ...]
    worst: Layer
    variance: float
    scale: float


def unfit_running(record: StepRecord, structure: Structure) -> Running | None:
    """Return the normalisations in eval mode if most of them do not normalise; ``None`` if none does so, or they fit.

    A network that was trained before keeps its running statistics on purpose, and they fit what it gets.

    Args:
        record: what was measured.
        structure: the network.
    """
    layers = tuple(layer for layer in structure.layers if layer.running)
    off: dict[Layer, tuple[float, float, float]] = {}
    for layer in layers:
        variance, scale = record.layer_table.at(layer.name, Quantity.VARIANCE), _scale(record, layer)
        if scale > 0 and variance >= 0:
            off[layer] = (abs(math.log(variance / scale)) if variance else math.inf), variance, scale
    far = [layer for layer, (distance, _, _) in off.items() if distance >= math.log(OFF)]
    if not far or len(far) < MOST * len(off):
        return None
    worst = max(far, key=lambda layer: off[layer][0])
    return Running(layers, worst, *off[worst][1:])


def _scale(record: StepRecord, layer: Layer) -> float:
    """Return the mean square of a normalisation's weight; 1 where it has none, NaN where it was not measured."""
    if not layer.weight:
        return 1.0
    parameters = record.parameter_table
    if layer.weight not in parameters.names:
        return math.nan
    mean = parameters.at(layer.weight, Quantity.WEIGHT_MEAN)
    return mean**2 + parameters.at(layer.weight, Quantity.WEIGHT_VARIANCE)
