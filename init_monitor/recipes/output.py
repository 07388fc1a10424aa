"""The output layer: small, so that a classifier starts undecided."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from init_monitor.analysis.initialiser import OUTPUT_STD
from init_monitor.recipes.biases import zero_biases
from init_monitor.recipes.choices import positive
from init_monitor.recipes.weights import weights_of

if TYPE_CHECKING:
    import torch

    from init_monitor.recipes.variance_scaling import Target


def small_output_(
    target: Target, *, std: float = OUTPUT_STD, generator: torch.Generator | None = None, frozen: bool = False
) -> Target:
    """Draw the output layer's weights from N(0, std²) and set its bias to 0.

    Small weights give small logits: the softmax starts near the uniform distribution and the loss near
    log(number of classes). Source: Krizhevsky et al. 2012, Section 5.

    >>> import torch
    >>> from torch import nn
    >>> from init_monitor import recipes
    >>> head = recipes.small_output_(nn.Linear(512, 10), generator=torch.Generator().manual_seed(0))
    >>> bool(abs(head.weight.std() - 0.01) < 0.001)
    True

    Args:
        target: the output layer or its weight. A whole model would get small weights everywhere: pass its last layer.
        std: standard deviation, positive.
        generator: source of the random numbers; torch's own state is then left alone.
        frozen: initialise parameters that do not require a gradient, too.

    Returns:
        ``target``.

    Raises:
        RecipeError: there is nothing to initialise, or ``std`` cannot be used. Nothing was changed.
    """
    std = positive("small_output_", "std", std)
    for weight in weights_of(target, "small_output_", frozen=frozen, recurse=False):
        weight.fill(partial(nn.init.normal_, std=std, generator=generator), generator)
    zero_biases(target, frozen=frozen, recurse=False)
    return target
