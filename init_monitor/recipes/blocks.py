"""The residual blocks of a network, as the recipes for whole networks need them.

Where the additions are is seen by running the network once; so these recipes take a batch, or the
:class:`~init_monitor.records.Structure` that a monitor or a report already has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from init_monitor.analysis import residual_branches
from init_monitor.analysis.residual_streams import streams
from init_monitor.capture.single_pass import rehearse
from init_monitor.errors import RecipeError
from init_monitor.records import Role, Structure
from init_monitor.structure.layers import plain_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Layer, Residual


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
    """

    residual: Residual
    number: int
    blocks: int
    weights: tuple[Layer, ...]
    end: Layer | None

    @property
    def has_own_factor(self) -> bool:
        """Whether the forward multiplies the branch by a tensor, such as a LayerScale or ReZero parameter."""
        return math.isnan(self.residual.branch_scale)


def structure_for(model: nn.Module, seen: Any, recipe: str) -> Structure:  # noqa: ANN401 - whatever the model takes
    """Return ``seen`` if it is a structure, else the structure of the model when it runs on ``seen``.

    Raises:
        RecipeError: the structure names a module that the model does not have.
        TypeError: ``model`` is no module.
    """
    if not isinstance(seen, Structure):
        return rehearse(model, seen, caller=f"{recipe}(model, batch)", backward=False).structure
    if not isinstance(model, nn.Module):
        message = f"{recipe} needs a torch.nn.Module as its model, got {type(model).__name__}."
        raise TypeError(message)
    known = modules_by_name(model)
    missing = [layer.module for layer in seen.layers if layer.module not in known]
    if missing:
        message = (
            f"{recipe}: the structure has a layer {missing[0]!r} that {type(model).__name__} has not."
            " Give the structure of this model, or a batch."
        )
        raise RecipeError(message)
    return seen


def modules_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """Return every module by its path without what wrappers (torch.compile, DDP) put into it."""
    wrapped = hasattr(model, "module") and isinstance(model.module, nn.Module)
    found: dict[str, nn.Module] = {}
    for path, module in model.named_modules():
        # Of a wrapper and what it wraps, which have one name, the inner one comes last and is the layer.
        found[plain_name(path, wrapped_root=wrapped and path != "")] = module
    return found


def blocks_of(structure: Structure) -> tuple[Block, ...]:
    """Return the blocks of every stream in execution order, without nested and long additions."""
    found = []
    for stream in streams(structure):
        for number, residual in enumerate(stream.residuals, 1):
            layers = residual_branches.layers_of(residual, structure)
            weights = {
                layer.module: layer for layer in reversed(layers) if layer.role is Role.WEIGHT and layer.parameters
            }
            end = residual_branches.end_of(residual, structure)
            in_order = sorted(weights.values(), key=lambda layer: layer.depth)
            found.append(Block(residual, number, stream.blocks, tuple(in_order), end))
    return tuple(sorted(found, key=lambda block: block.residual.depth))


def need_blocks(structure: Structure, recipe: str) -> tuple[Block, ...]:
    """Return the blocks of a network that must have some.

    Raises:
        RecipeError: it has none.
    """
    found = blocks_of(structure)
    if not found:
        message = (
            f"{recipe}: no residual addition x + F(x) was seen in {len(structure.layers)} layers, expected at least one."
            " For a network without skip connections use he_normal_ or xavier_normal_."
        )
        raise RecipeError(message)
    return found


def output_layer(structure: Structure) -> Layer | None:
    """Return the weight layer that ran last, if it lies in no residual block: what it gives is the answer."""
    weights = [layer for layer in structure.layers if layer.role is Role.WEIGHT]
    if not weights:
        return None
    within = {name for residual in structure.residuals for name in residual.layers}
    return None if weights[-1].name in within else weights[-1]


def without_end(blocks: Sequence[Block]) -> list[str]:
    """Return the names of the blocks whose branch has no layer at its end that could be set to zero."""
    return [block.residual.name for block in blocks if block.end is None]
