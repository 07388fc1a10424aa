"""The weight layers of a network in the order in which they ran."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from init_monitor.records import Role
from init_monitor.records.once import once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Layer, Structure


def weights_ahead_of(layer: Layer, structure: Structure) -> Layer | None:
    """Return the weight layer that ran last before a layer, whether it feeds it or not; ``None`` if none did."""
    depths, weights = _in_order(structure)
    place = bisect_left(depths, layer.depth)
    return weights[place - 1] if place else None


@once
def _in_order(structure: Structure) -> tuple[Sequence[int], Sequence[Layer]]:
    weights = sorted((x for x in structure.layers if x.role is Role.WEIGHT), key=lambda x: x.depth)
    return [layer.depth for layer in weights], weights
