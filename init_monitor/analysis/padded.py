"""Convolutions of which the padding takes a large part: over a map of one or two pixels most of a kernel meets zeros."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import Layer, StepRecord

SMALL = 0.8
"""Part of the terms from which it matters: 3 x 3 with a border of zeros leaves 0.84 of them over 8 x 8 pixels (0.69 over 4 x 4, 0.44
over 2 x 2, 0.11 over one)."""

CONVOLUTIONS = frozenset({"Conv1d", "Conv2d", "Conv3d"})


def part_of_terms(layer: Layer, first: StepRecord) -> float:
    """Return which part of the terms of a convolution's sums are no zeros of the border, by what random weights did; 1 for other layers.

    Backward, where no bias has a part in it: an output sends to as many inputs as it reads. Where that is not known (the first layer, one
    behind a pooling), by what the weights made of the input, if the biases have no more of it.
    """
    if layer.torch_kind not in CONVOLUTIONS:
        return 1.0
    at = first.layer_table.at
    measured = at(layer.name, Quantity.BACKWARD_GAIN) / (at(layer.name, Quantity.EXPECTED_BACKWARD_GAIN) or math.nan)
    wanted = at(layer.name, Quantity.EXPECTED_GAIN) * at(layer.name, Quantity.INPUT_MEAN_SQUARE)
    biases = first.parameter_table.at(layer.bias, Quantity.WEIGHT_VARIANCE) if layer.bias else 0.0
    if not measured > 0 and wanted > 0 and biases <= wanted:
        measured = (at(layer.name, Quantity.VARIANCE) - biases) / wanted
    # To one digit: layers over maps of one size then get the same code.
    return float(f"{measured:.1g}") if 0 < measured < SMALL else 1.0


def with_its_terms(layer: Layer, first: StepRecord) -> Layer:
    """Return a layer with the terms that its sums have where it stands; the same where the padding takes little."""
    part = part_of_terms(layer, first)
    return layer if part == 1 else replace(layer, forward_terms=layer.forward_terms * part)
