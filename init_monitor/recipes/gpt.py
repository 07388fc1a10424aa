"""GPT-style: one small standard deviation everywhere, smaller still for what writes into the residual stream."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from init_monitor.analysis.initialiser import GPT_STD, stream_std
from init_monitor.analysis.residual_blocks import blocks_of
from init_monitor.errors import RecipeError
from init_monitor.recipes.biases import zero_biases
from init_monitor.recipes.blocks import structure_for
from init_monitor.recipes.choices import count, positive
from init_monitor.recipes.embedding import TABLES, embedding_
from init_monitor.recipes.normalisation import normalisation_defaults_
from init_monitor.recipes.weights import weights_of
from init_monitor.records import Role
from init_monitor.structure.layers import modules_by_name

if TYPE_CHECKING:
    import torch

    from init_monitor.records import Structure


def gpt_(
    model: nn.Module,
    seen: Any,  # noqa: ANN401 - whatever the model takes
    *,
    std: float = GPT_STD,
    generator: torch.Generator | None = None,
    frozen: bool = False,
) -> tuple[str, ...]:
    """Draw every weight and embedding from N(0, std²), and the layers that write into the stream from N(0, std²/n).

    n is the number of additions of their residual stream (2 per transformer block), so that the stream's variance does not
    grow with the number of blocks. Biases are 0, normalisations as newly created. Sources: Radford et al. 2018, Section 4.1; 2019,
    Section 2.3.

    Left alone: recurrent layers, and parameters that belong to no layer (a learned position table made by hand).

    Args:
        model: the network.
        seen: a batch, or the network's :class:`~init_monitor.records.Structure`.
        std: standard deviation, positive; for a stream narrower than 768 units better :func:`width_std` of it.
        generator: source of the random numbers; torch's own state is then left alone.
        frozen: initialise parameters that do not require a gradient, too.

    Returns:
        The modules that write into a stream.

    Raises:
        RecipeError: no residual branch ends in a layer with weights, or ``std`` cannot be used.
    """
    recipe = "gpt_"
    std = positive(recipe, "std", std)
    structure = structure_for(model, seen, recipe)
    writers = stream_writers(structure)
    if not writers:
        message = (
            f"{recipe}: no residual branch was seen that ends in a layer with weights, in {len(structure.layers)} layers."
            " GPT-style scaling is for such branches; for other networks use he_normal_ or xavier_normal_."
        )
        raise RecipeError(message)
    modules = modules_by_name(model)
    scales = {id(modules[name]): additions**-0.5 for name, additions in writers.items()}
    for weight in weights_of(model, recipe, frozen=frozen):
        own = std * scales.get(id(weight.owner), 1.0)
        weight.fill(partial(nn.init.normal_, std=own, generator=generator), generator)
    zero_biases(model, frozen=frozen)
    if any(isinstance(module, TABLES) and (frozen or module.weight.requires_grad) for module in model.modules()):
        embedding_(model, std=std, generator=generator, frozen=frozen)
    if any(layer.role is Role.NORMALISATION for layer in structure.layers):
        _normalisations(model, frozen=frozen)
    return tuple(writers)


def stream_writers(structure: Structure) -> dict[str, int]:
    """Return the weight layer at the end of every branch, with the number of additions of its stream."""
    return {
        block.end.module: block.blocks
        for block in blocks_of(structure)
        if block.end is not None and block.end.role is Role.WEIGHT
    }


def gpt_std(additions: int, std: float = GPT_STD) -> float:
    """Return the standard deviation of a layer that writes into a stream of that many additions: std/sqrt(n).

    >>> f"{gpt_std(24):.5f}"  # GPT-2 small: 12 blocks of 2 additions
    '0.00408'

    Raises:
        RecipeError: ``additions`` is no whole number from 1, or ``std`` not positive.
    """
    return positive("gpt_std", "std", std) / math.sqrt(count("gpt_std", "additions", additions))


def width_std(width: int) -> float:
    """Return the standard deviation for a linear layer on a stream of that many units, before :func:`gpt_std` divides it.

    From 768 units on it is 0.02, below that sqrt(2/(5·width)): Nguyen & Salazar 2019, Section 2.2 (SmallInit).

    >>> width_std(768), f"{width_std(64):.4f}"
    (0.02, '0.0791')

    Raises:
        RecipeError: ``width`` is no whole number from 1.
    """
    return stream_std(count("width_std", "width", width))


def _normalisations(model: nn.Module, *, frozen: bool) -> None:
    try:
        normalisation_defaults_(model, frozen=frozen)
    except RecipeError:  # a custom class, without weights, or frozen: nothing to set
        return
