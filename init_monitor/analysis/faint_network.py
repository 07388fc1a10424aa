"""Networks nearly all of whose weights begin far too small, wherever normalisations and skips hide that from the signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis import residual_branches
from init_monitor.analysis.attention_parts import parts_of
from init_monitor.analysis.gains import healthy_gain
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Collection

    from init_monitor.records import Layer, StepRecord, Structure

FAINT = 1e-3
"""Part of the healthy gain at or below which weights are faint: the rms at a thirtieth of what it should be. The smallest in wide use, a standard
deviation of 0.02, gives a hundredth of it in a layer that reads 32 numbers and a tenth in one that reads 256; SIREN's give a 450th."""

NEARLY_ALL = 0.75
"""Part of the layers that count from which it is the network: starts that have zeros on purpose (modulations, adapters, ends of
branches) have other weights beside them, at least as many."""

FEWEST = 3
"""Layers that have to count; what a shorter network does shows in its signal."""


class Faint(NamedTuple):
    """What counts of a network whose weights are faint.

    Attributes:
        layers: those whose weights are.
        gains: what the weights of each give, fan_in · Var(W).
        of: how many layers count.
    """

    layers: tuple[Layer, ...]
    gains: tuple[float, ...]
    of: int


def faint_network(first: StepRecord, structure: Structure, outputs: Collection[str]) -> Faint | None:
    """Return the layers with faint weights if nearly all layers have them; ``None`` otherwise.

    Not counted are embeddings, outputs and the last weights of residual branches, which may start small (alone in a branch they leave
    that as quickly as others learn; two in a row hand each other little), layers whose output a normalisation takes at once, and weights
    of which all are one number: zeros are told elsewhere.

    Args:
        first: the record of the initial weights.
        structure: the network.
        outputs: names of its output layers.
    """
    ends = residual_branches.weights_at_ends(structure) | _last_of_branches(structure)
    given = dict(zip(first.names, first.column(Quantity.EXPECTED_GAIN).tolist(), strict=True))
    variance = first.parameter_table.by_name(Quantity.WEIGHT_VARIANCE)
    seen: set[str] = set()
    known: list[tuple[Layer, float]] = []
    for layer in structure.layers:
        parts = parts_of(layer)
        weight = parts[0].weight
        if (
            layer.role is not Role.WEIGHT
            or layer.is_embedding
            or layer.name in outputs
            or weight in seen
            or weight in ends
        ):
            continue
        seen.add(weight)
        gain = (
            given.get(layer.name, np.nan) if parts == (layer,) else layer.forward_terms * variance.get(weight, np.nan)
        )
        if layer.normalised or not 0 < gain < np.inf or not 0 < healthy_gain(layer) < np.inf:
            continue
        known.append((layer, gain))
    faint = [(layer, gain) for layer, gain in known if gain <= FAINT * healthy_gain(layer)]
    if len(known) < FEWEST or len(faint) < NEARLY_ALL * len(known):
        return None
    return Faint(tuple(layer for layer, _ in faint), tuple(gain for _, gain in faint), len(known))


def _last_of_branches(structure: Structure) -> frozenset[str]:
    """Return the last weights of the residual branches, whatever activation follows them."""
    last: set[str] = set()
    for residual in structure.residuals:
        weights = [x for x in residual_branches.layers_of(residual, structure) if x.role is Role.WEIGHT]
        last.update(parts_of(x)[-1].weight for x in weights[-1:])
    return frozenset(last)
