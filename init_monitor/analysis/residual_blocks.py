"""The residual blocks of a network, as a choice of initialiser needs them: place in the stream, weights, end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from init_monitor.analysis import residual_branches
from init_monitor.analysis.residual_streams import streams
from init_monitor.records import Role
from init_monitor.records.once import once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.records import Layer, Residual, Structure


@dataclass(frozen=True, slots=True)
class Block:
    """One residual block of a stream.

    Attributes:
        residual: its addition.
        number: k, its place in the stream, from 1.
        blocks: L, the additions of its stream.
        weights: the weight layers of its branch in execution order, each module once.
        end: the layer that writes into the stream and whose zero silences the branch; ``None`` if an activation or
            something unknown does.
        scaled: the forward multiplies a skip or a sum of the stream by a number.
    """

    residual: Residual
    number: int
    blocks: int
    weights: tuple[Layer, ...]
    end: Layer | None
    scaled: bool = False

    @property
    def has_own_factor(self) -> bool:
        """Whether the forward multiplies the branch by a tensor, such as a LayerScale or ReZero parameter."""
        return math.isnan(self.residual.branch_scale)


@once
def blocks_of(structure: Structure) -> tuple[Block, ...]:
    """Return the blocks of every stream in execution order, without nested and long additions."""
    found = []
    for stream in streams(structure):
        # A factor on the last sum of a stream is not seen, because no addition follows it: the others show it.
        scaled = any(one.skip_scale != 1 or one.sum_scale != 1 for one in stream.residuals)
        for number, residual in enumerate(stream.residuals, 1):
            layers = residual_branches.layers_of(residual, structure)
            weights = {
                layer.module: layer for layer in reversed(layers) if layer.role is Role.WEIGHT and layer.parameters
            }
            end = residual_branches.end_of(residual, structure)
            in_order = sorted(weights.values(), key=lambda layer: layer.depth)
            found.append(Block(residual, number, stream.blocks, tuple(in_order), end, scaled))
    return tuple(sorted(found, key=lambda block: block.residual.depth))


@once
def blocks_by_end(structure: Structure) -> Mapping[str, Block]:
    """Return the blocks whose end is known, by the module at their end."""
    return MappingProxyType({block.end.module: block for block in blocks_of(structure) if block.end is not None})


@once
def output_layer(structure: Structure) -> Layer | None:
    """Return the weight layer that ran last, if it lies in no residual block: its output is the network's answer."""
    weights = [layer for layer in structure.layers if layer.role is Role.WEIGHT]
    if not weights:
        return None
    within = {name for residual in structure.residuals for name in residual.layers}
    return None if weights[-1].name in within else weights[-1]
