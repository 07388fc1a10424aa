"""Answers that are products of two outputs, as of a user's and an item's embedding: how large they start, against their targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import Layer, StepRecord, Structure

LEFT_FOR_TARGETS = 1.5
"""Times the answer's mean square that a first squared error may be for targets to be smaller than the answers: it is the sum of both
mean squares, so that at most half of the answers' is the targets'."""

LEAST_PART = 0.5
"""The least that it may be: the rows of one batch, and factors that are not quite independent."""


class Product(NamedTuple):
    """Two layers whose outputs are multiplied and added up.

    Attributes:
        layers: both.
        width: products that are added up.
        square: mean square of the answer at the first record, for outputs that are independent of each other.
    """

    layers: tuple[Layer, Layer]
    width: float
    square: float


def large_products(first: StepRecord, structure: Structure, large: float) -> list[Product]:
    """Return the products that make the first squared error, and answers far larger than the targets.

    Args:
        first: the first record of a run.
        structure: the network.
        large: mean square of an answer from which it counts.
    """
    known = structure.by_name()
    found = []
    for layer in structure.layers:
        other = known.get(layer.times)
        if other is None or other.depth < layer.depth:
            continue
        width = _width(layer, first)
        square = width * _square(layer, first) * _square(other, first)
        if square >= large and LEAST_PART * square <= first.loss <= LEFT_FOR_TARGETS * square:
            found.append(Product((layer, other), width, square))
    return found


def _square(layer: Layer, first: StepRecord) -> float:
    return first.layer_table.at(layer.name, Quantity.MEAN_SQUARE)


def _width(layer: Layer, first: StepRecord) -> float:
    if not layer.is_embedding:
        return float(layer.fan_out)
    at = first.parameter_table.at
    return at(layer.weight, Quantity.WEIGHT_COUNT) / at(layer.weight, Quantity.WEIGHT_ROWS)
