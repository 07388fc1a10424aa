"""One of several inputs of a network that is the same for every sample of every batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from init_monitor.analysis.sample_shares import SAME, entering_share
from init_monitor.records import INPUT, Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Layer, StepRecord, Structure

CONSTANT = 1e-6
"""By how much, of its rms, the mean of what is received may change between batches: rounding of a sum."""


def constant_inputs(records: Sequence[StepRecord], structure: Structure, varies: float) -> list[Layer]:
    """Return the layers that receive an input of the network, one vector for each sample, which is one and the same throughout.

    Others must receive what differs. A table of places or of queries is no such input: it has many vectors for each sample. Nor is
    a time that a batch shares: it changes from batch to batch.

    Args:
        records: of which every one must show it.
        structure: the network.
        varies: share of the variance between samples that what differs has at least.
    """
    if not all(entering_share(record, structure) >= varies for record in records):
        return []
    first = [x for x in structure.layers if x.kind == "Linear" and x.role is Role.WEIGHT and set(x.inputs) == {INPUT}]
    return [layer for layer in first if all(_is_one(layer, record, records[0], structure) for record in records)]


def _is_one(layer: Layer, record: StepRecord, began: StepRecord, structure: Structure) -> bool:
    table = record.layer_table
    # A Linear has a row for each vector that it receives: the fewest are those with one for each sample.
    linear = [one for one in structure.layers if one.kind == "Linear" and one.fan_out]
    rows = min(table.at(one.name, Quantity.COUNT) / one.fan_out for one in linear)
    single = table.at(layer.name, Quantity.COUNT) <= rows * layer.fan_out
    rms = math.sqrt(max(0.0, table.at(layer.name, Quantity.INPUT_MEAN_SQUARE)))
    moved = abs(table.at(layer.name, Quantity.INPUT_MEAN) - began.layer_table.at(layer.name, Quantity.INPUT_MEAN))
    alike = table.at(layer.name, Quantity.BETWEEN_SAMPLE_SHARE) <= SAME and table.at(layer.name, Quantity.VARIANCE) > 0
    return single and alike and moved <= CONSTANT * rms
