"""Mirrored pairs: a deep chain of rectifiers without normalisation or skips that starts as an isometry."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from init_monitor.errors import RecipeError
from init_monitor.recipes.biases import zero_biases
from init_monitor.recipes.weights import weights_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from init_monitor.recipes.variance_scaling import Target


def mirrored_(  # noqa: PLR0913 - what every recipe takes, and two choices
    target: Target,
    *,
    first: bool = False,
    slope: float = 0.0,
    generator: torch.Generator | None = None,
    frozen: bool = False,
    recurse: bool = True,
) -> Target:
    """Draw orthogonal weights on pairs of units of opposite sign, which a rectifier passes on whole, and set biases to 0.

    Half of the units gets orthogonal weights, the other half the same with the opposite sign: f(u) and f(-u). The next layer
    takes their difference, which is (1 + slope)·u for every activation whose odd part is linear: ReLU and its leaky variants,
    GELU, SiLU, hard swish. A chain of such layers starts as an orthogonal linear map, whatever its depth, and each weight
    has the variance that He's initialisation gives. A kernel has its weights at its centre. The units of a pair
    part with the first step. Where the number of units is odd, the last one is drawn as He's.
    Sources: Balduzzi et al. 2017, "The shattered gradients problem", Section 4; Burkholz & Dubatovka 2019, "Initialization of
    ReLUs for dynamical isometry", Section 4; for kernels Xiao et al. 2018, "Dynamical isometry and a mean field theory of
    CNNs", Section 3.

    >>> import torch
    >>> from torch import nn
    >>> from init_monitor import recipes
    >>> net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), *[m for _ in range(50) for m in (nn.Linear(16, 16), nn.ReLU())])
    >>> for i, layer in enumerate(net[::2]):
    ...     _ = recipes.mirrored_(layer, first=i == 0, generator=torch.Generator().manual_seed(i))
    >>> x = torch.eye(8)
    >>> lengths = net(x).norm(dim=1)  # after 51 layers
    >>> bool(lengths.min() > 0.999 * lengths.max())
    True

    Args:
        target: a tensor, a layer, or a model, whose layers are all meant.
        first: what it receives does not come in pairs: the first layer of the chain.
        slope: of the activation below zero, at least 0 and less than 1.
        generator: source of the random numbers; torch's own state is then left alone.
        frozen: initialise parameters that do not require a gradient, too.
        recurse: look into the modules inside ``target``.

    Returns:
        ``target``.

    Raises:
        RecipeError: there is nothing to initialise, or ``slope`` cannot be used. Nothing was changed.
    """
    if not 0 <= slope < 1:
        message = (
            f"mirrored_(slope=…) is the slope of a rectifier below zero, at least 0 and less than 1; got {slope!r}."
        )
        raise RecipeError(message)
    for weight in weights_of(target, "mirrored_", frozen=frozen, recurse=recurse):
        weight.fill(partial(_draw, first=first, slope=slope, generator=generator), generator)
    zero_biases(target, frozen=frozen, recurse=recurse)
    return target


def _draw(weight: Tensor, *, first: bool, slope: float, generator: torch.Generator | None) -> None:
    """Fill [out, in, ...]; ``init_monitor.analysis.mirrored_code`` prints the same as code."""
    nn.init.kaiming_normal_(weight, generator=generator)
    rows, columns = len(weight) // 2, weight.shape[1] // 2
    part = weight[:rows] if first else weight[:rows, :columns]
    centre = part if first else part.zero_()
    for size in () if first else part.shape[2:]:
        centre = centre.select(2, size // 2)
    square = max(1, rows / max(1, centre[:1].numel()))
    gain = math.sqrt(square * 2 / (1 + slope**2)) if first else math.sqrt(square) / (1 + slope)
    nn.init.orthogonal_(centre, gain, generator)
    if not first:
        weight[:rows, columns : 2 * columns] = -part
    weight[rows : 2 * rows] = -weight[:rows]
