"""Embeddings: a table of vectors has no fan_in, each output is one row of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import parametrize

from init_monitor.recipes.choices import positive
from init_monitor.recipes.fill import assign_computed, fill
from init_monitor.recipes.layer_kinds import is_frozen_parameter
from init_monitor.recipes.refusals import check_values, nothing

if TYPE_CHECKING:
    from init_monitor.recipes.recurrent import Recurrent as Module

TABLES: tuple[type[nn.Module], ...] = (nn.Embedding, nn.EmbeddingBag)


def embedding_(
    target: Module, *, std: float = 1.0, generator: torch.Generator | None = None, frozen: bool = False
) -> Module:
    """Draw every embedding from N(0, std²); the row of ``padding_idx`` stays 0.

    std=1 gives the layers above a standard input; use 0.02 for a table that is tied to the output layer, or its logits
    start at sqrt(dimension). Sources: Vaswani et al. 2017, Section 3.4 (tying); Radford et al. 2019 (0.02).

    >>> import torch
    >>> from torch import nn
    >>> from init_monitor import recipes
    >>> table = recipes.embedding_(nn.Embedding(1000, 64, padding_idx=0), generator=torch.Generator().manual_seed(0))
    >>> bool((table.weight[0] == 0).all()), bool(abs(table.weight[1:].std() - 1) < 0.02)
    (True, True)

    Args:
        target: an embedding, or a module that contains some.
        std: standard deviation, positive.
        generator: source of the random numbers; torch's own state is then left alone.
        frozen: initialise parameters that do not require a gradient, too.

    Returns:
        ``target``.

    Raises:
        RecipeError: there is nothing to initialise, or ``std`` cannot be used. Nothing was changed.
    """
    std = positive("embedding_", "std", std)
    if not isinstance(target, nn.Module):
        message = f"embedding_ takes an embedding or a model, got {type(target).__name__}."
        raise TypeError(message)
    tables: dict[int, tuple[str, nn.Embedding | nn.EmbeddingBag]] = {}
    spared = 0
    for path, module in target.named_modules():
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
            name = f"{path}.weight".lstrip(".")
            # A weight that a parametrization computes is another tensor at each reading.
            held = next(module.parameters(), module.weight)
            if is_frozen_parameter(held) and not frozen:
                spared += 1
            else:
                check_values(held, name, "embedding_")
                tables.setdefault(id(held), (name, module))
    if not tables:
        nothing("embedding_", target, "embedding", spared)
    for name, module in tables.values():
        _draw(name, module, std, generator)
    return target


def _draw(name: str, module: nn.Embedding | nn.EmbeddingBag, std: float, generator: torch.Generator | None) -> None:
    computed = parametrize.is_parametrized(module, "weight")
    with torch.no_grad():
        weight = module.weight.detach().clone() if computed else module.weight
        fill(weight, partial(nn.init.normal_, std=std, generator=generator), generator)
        if module.padding_idx is not None:
            weight[module.padding_idx].zero_()
        if computed:
            assign_computed(module, "weight", weight, name)
