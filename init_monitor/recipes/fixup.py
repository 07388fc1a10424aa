"""Fixup: residual networks that train without normalisation, because no single update changes the output much."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from init_monitor.analysis.residual_blocks import output_layer
from init_monitor.errors import RecipeError
from init_monitor.recipes.biases import zero_biases
from init_monitor.recipes.blocks import need_blocks, structure_for, without_end
from init_monitor.recipes.choices import count
from init_monitor.recipes.layer_kinds import is_shared
from init_monitor.recipes.weights import weights_of
from init_monitor.recipes.zero_ends import zero_layer
from init_monitor.structure.layers import modules_by_name

if TYPE_CHECKING:
    import torch


def fixup_scale(blocks: int, layers: int) -> float:
    """Return L^(-1/(2m-2)) for L branches of m weight layers; 1 for a branch of one layer, which starts at zero anyway.

    Source: Zhang, Dauphin & Ma 2019, Section 3, rule 2.

    >>> fixup_scale(16, 2), fixup_scale(16, 3)
    (0.25, 0.5)

    Raises:
        RecipeError: ``blocks`` or ``layers`` is no whole number from 1.
    """
    blocks, layers = count("fixup_scale", "blocks", blocks), count("fixup_scale", "layers", layers)
    return blocks ** (-1.0 / (2 * layers - 2)) if layers > 1 else 1.0


def fixup_(
    model: nn.Module,
    seen: Any,  # noqa: ANN401 - whatever the model takes
    *,
    generator: torch.Generator | None = None,
    frozen: bool = False,
) -> tuple[str, ...]:
    """Apply Fixup: He everywhere, branches scaled by L^(-1/(2m-2)), the last layer of each branch and the output zero.

    L counts the residual branches of the network, m the weight layers of a branch. Biases are set to 0. The third part of
    Fixup, a scalar bias before every layer and a scalar multiplier per branch, changes the architecture, which no
    initialisation can do: add them to your blocks (they start at 0 and 1). Source: Zhang, Dauphin & Ma 2019, "Fixup
    initialization: residual learning without normalization", Section 3.

    Args:
        model: the network.
        seen: a batch, or the network's :class:`~init_monitor.records.Structure`.
        generator: source of the random numbers; torch's own state is then left alone.
        frozen: initialise parameters that do not require a gradient, too.

    Returns:
        The modules that were set to zero. The output layer is not among them if its weight is tied to another layer's.

    Raises:
        RecipeError: no residual addition was seen, or a branch does not end in a layer that can be set to zero.
    """
    recipe = "fixup_"
    structure = structure_for(model, seen, recipe)
    blocks = need_blocks(structure, recipe)
    left = without_end(blocks)
    if left:
        message = (
            f"{recipe}: the branch of {left[0]} does not end in a layer with weights ({len(left)} of {len(blocks)} branches"
            " do not), so it cannot start at zero. Move the activation after it to the front of the next block."
        )
        raise RecipeError(message)
    modules = modules_by_name(model)
    scales: dict[int, float] = {}
    for block in blocks:
        for layer in block.weights:
            scales[id(modules[layer.module])] = fixup_scale(len(blocks), len(block.weights))
    for weight in weights_of(model, recipe, frozen=frozen):
        std = scales.get(id(weight.owner), 1.0) * math.sqrt(2.0 / weight.fan_in)
        weight.fill(partial(nn.init.normal_, std=std, generator=generator), generator)
    zero_biases(model, frozen=frozen)
    ends = dict.fromkeys(block.end.module for block in blocks if block.end is not None)
    output = output_layer(structure)
    if output is not None and not is_shared(modules[output.module], model):
        # A weight that is also the embedding cannot be zero: nothing would enter the network.
        ends[output.module] = None
    return tuple(name for name in ends if zero_layer(modules[name], frozen=frozen))
