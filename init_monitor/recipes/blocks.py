"""The residual blocks of a network, as the recipes for whole networks need them.

The additions are found by running the network once; so these recipes take a batch, or the
:class:`~init_monitor.records.Structure` that a monitor or a report already has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from init_monitor.analysis.residual_blocks import blocks_of
from init_monitor.capture.single_pass import rehearse
from init_monitor.errors import RecipeError
from init_monitor.records import Structure
from init_monitor.structure.layers import modules_by_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.analysis.residual_blocks import Block


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


def without_end(blocks: Sequence[Block]) -> list[str]:
    """Return the names of the blocks whose branch has no layer at its end that could be set to zero."""
    return [block.residual.name for block in blocks if block.end is None]
