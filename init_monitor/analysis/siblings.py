"""Layers whose outputs meet in every layer that reads them: an adapter or a gated branch, and what it is added to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis.segments import log_of
from init_monitor.records.once import once
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.analysis.segments import Segment
    from init_monitor.records import Column, StepRecord, Structure


@once
def siblings(structure: Structure) -> Mapping[str, frozenset[str]]:
    """Return for each layer those that all of its readers read as well, where there are some."""
    beside: dict[str, frozenset[str]] = {}
    known = frozenset(structure.names)
    for reader in structure.layers:
        made = frozenset(reader.inputs) & known
        for name in made:
            beside[name] = beside.get(name, made) & made
    return {name: others - {name} for name, others in beside.items() if len(others) > 1}


def carried_beside(segment: Segment, first: StepRecord, last: StepRecord, structure: Structure) -> Column:
    """Return the log variance of what is added to each layer of a segment whose weights started at 0; NaN for the others.

    Such a layer is silent by design at first (an adapter, a gate): the signal goes on beside it.
    """
    beside, norms = siblings(structure), first.parameter_table.by_name(Quantity.WEIGHT_NORM)
    variance = last.layer_table.by_name(Quantity.VARIANCE)
    carried = np.full(len(segment.layers), np.nan)
    for i, layer in enumerate(segment.layers):
        if layer.weight and norms.get(layer.weight) == 0 and layer.name in beside:
            carried[i] = max(variance.get(name, 0.0) for name in beside[layer.name])
    return log_of(carried)
