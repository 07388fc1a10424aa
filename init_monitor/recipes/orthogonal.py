"""Orthogonal weights: the length of every signal is kept, not only its mean square on average."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from init_monitor.recipes.biases import zero_biases
from init_monitor.recipes.choices import positive
from init_monitor.recipes.weights import weights_of

if TYPE_CHECKING:
    import torch

    from init_monitor.recipes.variance_scaling import Target


def orthogonal_(
    target: Target,
    *,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    frozen: bool = False,
    recurse: bool = True,
) -> Target:
    """Draw weights that are gain times a random orthogonal matrix, and set biases to 0.

    A kernel [out, in, ...] is treated as the matrix [out, in·area]. Of a matrix that is not square the rows or the
    columns, whichever are fewer, are orthonormal. Source: Saxe et al. 2014, "Exact solutions to the nonlinear dynamics
    of learning in deep linear neural networks", Section 3.

    >>> import torch
    >>> from init_monitor import recipes
    >>> weight = recipes.orthogonal_(torch.empty(4, 4), generator=torch.Generator().manual_seed(0))
    >>> bool(torch.allclose(weight @ weight.T, torch.eye(4), atol=1e-6))
    True

    Args:
        target: a tensor, a layer, or a model, whose linear, convolutional and attention layers are meant.
        gain: length of each row (or column), positive; sqrt(2) before a ReLU.
        generator: source of the random numbers; torch's own state is then left alone.
        frozen: initialise parameters that do not require a gradient, too.
        recurse: look into the modules inside ``target``.

    Returns:
        ``target``.

    Raises:
        RecipeError: there is nothing to initialise, or an argument cannot be used. Nothing was changed.
    """
    gain = positive("orthogonal_", "gain", gain)
    for weight in weights_of(target, "orthogonal_", frozen=frozen, recurse=recurse):
        weight.fill(partial(nn.init.orthogonal_, gain=gain, generator=generator), generator)
    zero_biases(target, frozen=frozen, recurse=recurse)
    return target
