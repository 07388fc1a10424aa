"""Layers of a network of sines: weights that take the frequency out of which the sine is called."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from init_monitor.analysis.initialiser import SIREN_FREQUENCY, siren_bound
from init_monitor.recipes.choices import positive
from init_monitor.recipes.weights import weights_of

if TYPE_CHECKING:
    import torch

    from init_monitor.recipes.variance_scaling import Target


def siren_(  # noqa: PLR0913 - what every recipe takes, and two numbers
    target: Target,
    *,
    frequency: float = SIREN_FREQUENCY,
    first: bool = False,
    generator: torch.Generator | None = None,
    frozen: bool = False,
    recurse: bool = True,
) -> Target:
    """Draw the weights of layers in front of ``sin(frequency · x)`` from U(-b, b), b = sqrt(6/fan_in)/frequency.

    What the sine then gets has variance 1 in every layer: its output has variance 1/2, and fan_in · b²/3 · frequency² is 2. The
    first layer takes coordinates, and b = 1/fan_in there. Biases are left: without any, such a network is an odd function.
    Source: Sitzmann et al. 2020, Section 3.2.

    >>> import torch
    >>> from torch import nn
    >>> from init_monitor import recipes
    >>> layer = recipes.siren_(nn.Linear(512, 512), generator=torch.Generator().manual_seed(0))
    >>> bool(abs(layer.weight.var() * 512 * 30**2 / 2 - 1) < 0.05)
    True

    Args:
        target: a tensor, a layer, or a model, whose layers are all meant.
        frequency: what the output is multiplied by before the sine, positive.
        first: it is the layer that takes the coordinates.
        generator: source of the random numbers; torch's own state is then left alone.
        frozen: initialise parameters that do not require a gradient, too.
        recurse: look into the modules inside ``target``.

    Returns:
        ``target``.

    Raises:
        RecipeError: there is nothing to initialise, or ``frequency`` cannot be used. Nothing was changed.
    """
    omega = positive("siren_", "frequency", frequency)
    for weight in weights_of(target, "siren_", frozen=frozen, recurse=recurse):
        bound = siren_bound(weight.fan_in, omega, first=first)
        weight.fill(partial(nn.init.uniform_, a=-bound, b=bound, generator=generator), generator)
    return target
