"""A learned number whose exponential multiplies the loss: one that was kept as a scale, and is exponentiated all the same."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import StepRecord, Structure

LARGEST = 100.0
"""Scale of logits above which training is unstable; CLIP holds its own below it (Radford et al. 2021, Sec. 2.5)."""

PROPORTIONAL = (0.5, 2.0)
"""Gradient of the number over the loss: 1 where the loss is proportional to its exponential."""

LEAST_LOSS = 50.0
"""Loss from which that is no coincidence: the offset of a squared error r² has a gradient of 2r, half of it at r = 4 and less above."""


class LearnedScale(NamedTuple):
    """A number that is exponentiated.

    Attributes:
        name: of the parameter.
        size: its absolute value.
    """

    name: str
    size: float


def exponentiated(first: StepRecord, structure: Structure) -> LearnedScale | None:
    """Return the number of one element, outside all layers, whose exponential is far too large and multiplies the first loss."""
    if first.step > 0 or not LEAST_LOSS <= first.loss < math.inf:
        return None
    table = first.parameter_table
    counts, norms, gradients = (
        table.by_name(one) for one in (Quantity.WEIGHT_COUNT, Quantity.WEIGHT_NORM, Quantity.WEIGHT_GRADIENT_NORM)
    )
    owned = {name for layer in structure.layers for name in (layer.weight, layer.bias, *layer.parameters)}
    low, high = PROPORTIONAL
    found = (
        LearnedScale(name, norms[name])
        for name in first.parameter_names
        if counts.get(name) == 1
        and name not in owned
        and norms[name] > math.log(LARGEST)
        and low <= gradients.get(name, 0.0) / first.loss <= high
    )
    return max(found, key=lambda one: one.size, default=None)
