"""Which weights came to this training trained before: what looks odd of them as a start was learned."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from init_monitor.analysis.weight_order import weights_ahead_of
from init_monitor.records import Role
from init_monitor.records.once import once
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from init_monitor.records import Layer, StepRecord, Structure

MOST = 0.5
"""Part of the normalisations that have to show it: a new head or a new block may bring some of its own."""

OFF_CENTRE = 2.0
"""E[b]² over Var(b) up to which shifts are spread around 0 as training spreads them; those drawn from U(0, 1) have 3."""

DRAWN = 0.05
"""Part by which the variance of biases may differ from that of torch's own, beside what n numbers leave uncertain."""


@once
def was_trained(first: StepRecord, structure: Structure) -> bool:
    """Say whether the normalisations of a network show that it was trained before; without one it cannot be known.

    A normalisation starts with equal scales and shifts, and no training leaves them equal. Some programs draw the scales around 1 and
    leave the shifts at 0 (Radford et al. 2016, Section 3), others draw every parameter alike, around 0 or all of one sign: a network that
    was trained has scales of one sign mostly, and shifts of both.

    Args:
        first: the record of the weights that the training began with.
        structure: the network.
    """
    norms = [layer for layer in structure.layers if layer.role is Role.NORMALISATION and layer.weight]
    return bool(norms) and sum(_is_shaped(layer, first) for layer in norms) >= MOST * len(norms)


def trained_layers(names: Iterable[str], first: StepRecord, structure: Structure) -> float:
    """Return the part of some layers whose weights were trained before, in a network that was; 0 if none of them has weights.

    A new head on a trained network has biases as they are drawn, or of 0; a new block has a normalisation of its own.

    Args:
        names: of the layers; for an activation the layer ahead of it counts.
        first: the record of the weights that the training began with.
        structure: the network.
    """
    known = structure.by_name()
    found = [known[name] for name in names if name in known]
    owners = {x.module: x for x in (x if x.weight else weights_ahead_of(x, structure) for x in found) if x is not None}
    return sum(not _is_new(x, first, structure) for x in owners.values()) / max(1, len(owners))


def _is_new(layer: Layer, first: StepRecord, structure: Structure) -> bool:
    if layer.role is Role.NORMALISATION:
        return not _is_shaped(layer, first)
    behind = [x for x in structure.layers if x.role is Role.NORMALISATION and x.weight and layer.name in x.inputs]
    if behind:
        return not any(_is_shaped(x, first) for x in behind)
    variance = first.parameter_table.at(layer.bias, Quantity.WEIGHT_VARIANCE) if layer.bias else 0.0
    drawn = 1 / (3 * layer.fan_in) if layer.fan_in > 0 else math.nan
    return not (variance > 0 and abs(variance / drawn - 1) > DRAWN + 3 * math.sqrt(2 / max(1, layer.fan_out)))


def _is_shaped(norm: Layer, first: StepRecord) -> bool:
    at = first.parameter_table.at
    scale, spread = at(norm.weight, Quantity.WEIGHT_MEAN) ** 2, at(norm.weight, Quantity.WEIGHT_VARIANCE)
    return 0 < spread < scale and (not norm.bias or _is_spread(first, norm.bias))


def _is_spread(first: StepRecord, bias: str) -> bool:
    at = first.parameter_table.at
    mean, variance = at(bias, Quantity.WEIGHT_MEAN), at(bias, Quantity.WEIGHT_VARIANCE)
    return mean * mean <= OFF_CENTRE * variance and variance > 0
