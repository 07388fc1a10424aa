"""Residual branches: which layers lie in one, where it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.analysis.attention_parts import projection_of
from init_monitor.records import Role
from init_monitor.records.once import once

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from init_monitor.records import Layer, Residual, Structure


def layers_of(residual: Residual, structure: Structure) -> Sequence[Layer]:
    """Return the layers of a branch in execution order, without those that map the skip of a projection."""
    described, layers = _branches(structure).get(residual.name, (None, ()))
    return layers if described is residual else _layers_of(residual, structure)


@once
def _branches(structure: Structure) -> Mapping[str, tuple[Residual, Sequence[Layer]]]:
    return {residual.name: (residual, _layers_of(residual, structure)) for residual in structure.residuals}


def _layers_of(residual: Residual, structure: Structure) -> Sequence[Layer]:
    known = structure.by_name()
    block = [known[name] for name in residual.layers if name in known]
    if residual.kind != "projection":
        return block
    mapping: set[str] = set()
    open_names = [layer.name for layer in block if residual.skip in {layer.name, layer.module}]
    within = set(residual.layers)
    while open_names:
        name = open_names.pop()
        mapping.add(name)
        open_names += [fed for fed in known[name].inputs if fed in within and fed in known and fed not in mapping]
    return [layer for layer in block if layer.name not in mapping]


@once
def normalising(structure: Structure) -> frozenset[str]:
    """Return the names of the additions with a normalisation in their branch: what it adds does not depend on the stream's scale."""
    return frozenset(
        residual.name
        for residual in structure.residuals
        if any(layer.role is Role.NORMALISATION for layer in layers_of(residual, structure))
    )


def unnormalised(structure: Structure) -> list[Residual]:
    """Return the additions on a stream without any normalisation, in a branch or on the stream."""
    if any(residual.normalised for residual in structure.residuals):
        return []
    streams = [residual for residual in structure.residuals if not residual.nested and not residual.long]
    return [residual for residual in streams if residual.name not in normalising(structure)]


def end_of(residual: Residual, structure: Structure) -> Layer | None:
    """Return the layer whose weights, set to zero, silence the branch and still get a gradient.

    That is the layer that makes the branch; ``None`` if an activation does (a ReLU of zeros passes no gradient on), or
    nothing known.
    """
    made = [layer for layer in layers_of(residual, structure) if residual.branch in {layer.name, layer.module}]
    if not made:
        return None
    end = made[-1]
    projection = projection_of(end)
    if projection is not None:
        return projection
    return end if end.weight and end.role in {Role.WEIGHT, Role.NORMALISATION} else None


def weights_at_ends(structure: Structure) -> frozenset[str]:
    """Return the names of the weights at the ends of residual branches."""
    ends = (end_of(residual, structure) for residual in structure.residuals)
    return frozenset(end.weight for end in ends if end is not None)
