"""A loss that is a binary cross-entropy, by what it and its gradient are before training; and how far its targets lie from ½."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import Layer, StepRecord

NEAR_LN2 = 0.1
"""Part of ln 2 by which the loss of an untrained network may differ from it: at a logit z and a target t it is ln 2 + z·(½ − t) + z²/8, and
the outputs of an untrained network are a few tenths. A Gaussian likelihood of standardised targets costs 2.05 · ln 2."""


def farthest_target(record: StepRecord, layer: Layer) -> float:
    """Return by how much the targets of a binary cross-entropy differ from ½ at most; NaN if the loss is none.

    At a logit of 0 it costs ln 2 whatever the target is, and its gradient there is (½ − t) times the weight of an element in
    the loss. That weight is 1 over the count for a mean over all elements, 1 over the rows of a Linear for a sum over its outputs,
    and 1 for a sum over all; the loss says which.

    Args:
        record: of the first step.
        layer: that makes the logits.
    """
    table = record.layer_table
    count, largest = table.at(layer.name, Quantity.COUNT), table.at(layer.name, Quantity.GRADIENT_ABS_MAX)
    if not count > 0:
        return math.nan
    in_row = layer.fan_out if layer.kind == "Linear" else 1
    entropies = (k for k in (1, in_row, count) if abs(record.loss - k * math.log(2)) <= NEAR_LN2 * k * math.log(2))
    return largest * count / next(entropies, math.nan)
