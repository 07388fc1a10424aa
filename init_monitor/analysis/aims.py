"""The number that a remedy aims at, measured on a record."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis.attention_parts import parts_of
from init_monitor.analysis.backward_growth import change_over
from init_monitor.analysis.forward_growth import trend
from init_monitor.analysis.forward_profile import Signal
from init_monitor.analysis.initialiser_choice import choice_for
from init_monitor.analysis.residual_streams import Measured, streams
from init_monitor.analysis.segments import bounded_exp, segments
from init_monitor.records.aim import Confirmation, Measure
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from init_monitor.analysis.residual_streams import Stream
    from init_monitor.analysis.segments import Segment
    from init_monitor.records import Layer, StepRecord, Structure
    from init_monitor.records.aim import Aim

LARGEST = frozenset({Measure.SATURATED, Measure.DEAD, Measure.OUTPUT})
"""Of these the largest of several layers counts; of the others the one that is furthest from 1, or the least."""

_OF_ACTIVATIONS = frozenset({Measure.SATURATED, Measure.DEAD})
_COLUMNS = {
    Measure.SATURATED: Quantity.SATURATED_FRACTION,
    Measure.DEAD: Quantity.DEAD_FRACTION,
    Measure.SAMPLES: Quantity.BETWEEN_SAMPLE_SHARE,
}


def confirmed(aim: Aim, record: StepRecord, structure: Structure) -> Confirmation:
    """Return whether a network shows what a remedy aims at.

    Args:
        aim: the number and its range.
        record: of its first forward and backward.
        structure: the network.
    """
    return Confirmation(aim, measured(aim.measure, aim.layers, record, structure))


def measured(measure: Measure, names: Sequence[str], record: StepRecord, structure: Structure) -> float:
    """Return the number, of several the worst; NaN if there is none."""
    found = np.array(
        [value for value in _values(measure, frozenset(names), record, structure) if not math.isnan(value)]
    )
    if not found.size:
        return math.nan
    if measure in LARGEST:
        return float(found.max())
    if measure is Measure.SAMPLES:
        return float(found.min())
    with np.errstate(divide="ignore"):
        return float(found[np.argmax(np.abs(np.log(found)))])


def chains_of(names: frozenset[str], structure: Structure, *, backward: bool = False) -> list[Segment]:
    """Return the chains of two levels or more that hold one of the layers; backward, they go through normalisations."""
    return [
        segment
        for segment in segments(structure, through_normalisation=backward)
        if segment.depth > 1 and any(layer.name in names for layer in segment.layers)
    ]


def streams_of(names: frozenset[str], structure: Structure) -> list[Stream]:
    """Return the residual streams that have one of the additions, or one of the layers in a branch."""
    return [
        stream
        for stream in streams(structure)
        if any(residual.name in names or not names.isdisjoint(residual.layers) for residual in stream.residuals)
    ]


def _values(measure: Measure, names: frozenset[str], record: StepRecord, structure: Structure) -> Iterator[float]:
    if measure in {Measure.GROWTH, Measure.GRADIENT_GROWTH}:
        signal = Signal(record, structure)
        for segment in chains_of(names, structure, backward=measure is Measure.GRADIENT_GROWTH):
            yield bounded_exp(total_over(measure, signal, segment) / segment.depth)
    elif measure is Measure.BLOCK_GROWTH:
        for stream in streams_of(names, structure):
            yield Measured(record).forward(stream).steady_total ** (1 / max(stream.blocks, 1))
    else:
        yield from measured_by_layer(measure, names, record, structure).values()


def measured_by_layer(
    measure: Measure, names: Collection[str], record: StepRecord, structure: Structure
) -> dict[str, float]:
    """Return the number of every layer that is named, of an activation also where the layer that feeds it is."""
    given = frozenset(names)
    return {
        layer.name: _of_layer(measure, layer, record, structure)
        for layer in structure.layers
        if layer.name in given
        or layer.module in given
        or (measure in _OF_ACTIVATIONS and not given.isdisjoint(layer.inputs))
    }


def total_over(measure: Measure, signal: Signal, segment: Segment) -> float:
    """Return the logarithm of the factor of the variance over a chain, in the direction in which it is larger."""
    if measure is Measure.GRADIENT_GROWTH:
        return max((direction * change_over(signal, segment, direction=direction) for direction in (1, -1)), key=abs)
    at = signal.of(segment)
    if at.silent_from() is not None:
        return -math.inf
    return max((trend(at, direction=direction).total for direction in (1, -1)), key=abs)


def _of_layer(measure: Measure, layer: Layer, record: StepRecord, structure: Structure) -> float:
    at = record.layer_table.at
    if measure is Measure.WEIGHT:
        part = parts_of(layer)[0]  # of an attention what makes its queries, or all three
        wanted = choice_for(part, structure).variance
        return record.parameter_table.at(part.weight, Quantity.WEIGHT_VARIANCE) / wanted if wanted > 0 else math.nan
    if measure is Measure.INPUT:
        return math.sqrt(max(at(layer.name, Quantity.INPUT_VARIANCE), 0.0))
    if measure is Measure.OUTPUT:
        return math.sqrt(max(at(layer.name, Quantity.VARIANCE), 0.0))
    return at(layer.name, _COLUMNS[measure])
