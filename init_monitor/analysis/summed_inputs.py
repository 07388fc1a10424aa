"""Sums between two layers: over the elements of a set, the nodes of a graph, the places of a sequence.

The sum of n elements has n to n² times their mean square, and what came before it may have fallen by as much: each side is a chain
of its own.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from init_monitor.analysis.segments import Segment
    from init_monitor.records import Layer, StepRecord, Structure

SUMMED = 10.0
"""Factor on the mean square between what a layer gives and what the next receives from which it counts as a sum: averages, views and
what thins out move it by less, and sums of fewer elements are none that matters."""


def summed_inputs(record: StepRecord, structure: Structure) -> Mapping[str, tuple[Layer, float]]:
    """Return the layers that receive a sum of what one layer gives: by name, that layer and the mean square of the sum.

    Residual sums, which have several layers before them, are none of these, nor is what a function or a factor makes larger.

    Args:
        record: of a forward pass.
        structure: the network.
    """
    by_name = {layer.name: layer for layer in structure.layers}
    readers = Counter(name for layer in structure.layers for name in layer.inputs)
    found: dict[str, tuple[Layer, float]] = {}
    for layer in structure.layers:
        before = by_name.get(layer.inputs[0]) if len(layer.inputs) == 1 else None
        if (
            before is None
            or not layer.direct
            or layer.role is not Role.WEIGHT
            or before.role is Role.NORMALISATION
            or readers[before.name] > 1
        ):
            continue
        received = record.layer_table.at(layer.name, Quantity.INPUT_MEAN_SQUARE)
        if 0 < SUMMED * _mean_square(record, before) <= received < math.inf:
            found[layer.name] = before, received
    return found


def parted(segment: Segment, at: Collection[str]) -> Iterator[Segment]:
    """Split a segment before the levels of these layers.

    Args:
        segment: of layers.
        at: names of layers that each begin a part.
    """
    starts = sorted({level for layer, level in zip(segment.layers, segment.levels, strict=True) if layer.name in at})
    for lower, upper in zip((-math.inf, *starts), (*starts, math.inf), strict=True):
        kept = [i for i, level in enumerate(segment.levels) if lower <= level < upper]
        if kept:
            yield replace(
                segment,
                layers=tuple(segment.layers[i] for i in kept),
                levels=tuple(segment.levels[i] for i in kept),
                indices=tuple(segment.indices[i] for i in kept),
            )


def _mean_square(record: StepRecord, layer: Layer) -> float:
    at = record.layer_table.at
    return at(layer.name, Quantity.VARIANCE) + at(layer.name, Quantity.MEAN) ** 2
