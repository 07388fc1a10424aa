"""Xavier and He: the weight variance that keeps the signal's variance from layer to layer.

A linear layer with zero-mean weights and zero bias gives ``Var(y) = fan_in · Var(W) · E[x²]`` forward and
``Var(∂loss/∂x) = fan_out · Var(W) · Var(∂loss/∂y)`` backward.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from torch import Tensor, nn

from init_monitor.recipes.biases import centre_biases, zero_biases
from init_monitor.recipes.choices import Mode, chosen, finite, positive, squared_gain
from init_monitor.recipes.weights import Reach, weights_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from init_monitor.recipes.weights import Weight

    Variance = Callable[[Weight], float]

Target = TypeVar("Target", bound="Tensor | nn.Module")


def xavier_variance(fan_in: float, fan_out: float, gain: float = 1.0) -> float:
    """Return gain² · 2/(fan_in + fan_out). Source: Glorot & Bengio 2010, Eq. 12.

    >>> xavier_variance(1024, 512)
    0.0013020833333333333
    """
    return gain**2 * 2.0 / (fan_in + fan_out)


def he_variance(fan: float, nonlinearity: str = "relu", negative_slope: float | None = None) -> float:
    """Return 2/fan before a ReLU. Source: He et al. 2015, Eq. 10, 14 and (leaky) 15.

    Args:
        fan: fan_in keeps the forward pass, fan_out the backward pass.
        nonlinearity: the activation that follows; others have the 1/E[f(z)²] of theirs in place of the 2.
        negative_slope: a of a leaky ReLU, which gives 2/((1+a²) fan).

    >>> he_variance(512)
    0.00390625
    """
    return squared_gain("he_variance", nonlinearity, negative_slope) / fan


def xavier_normal_(  # noqa: PLR0913 - as he_normal_
    target: Target,
    *,
    gain: float = 1.0,
    input_mean: float = 0.0,
    generator: torch.Generator | None = None,
    frozen: bool = False,
    recurse: bool = True,
) -> Target:
    """Draw weights from N(0, gain² · 2/(fan_in + fan_out)) and set biases to 0.

    For layers before tanh, sigmoid or nothing. Source: Glorot & Bengio 2010, Eq. 12.

    >>> import torch
    >>> from torch import nn
    >>> from init_monitor import recipes
    >>> layer = recipes.xavier_normal_(nn.Linear(300, 100), generator=torch.Generator().manual_seed(0))
    >>> bool(abs(layer.weight.var() * 200 - 1) < 0.05)
    True

    Args:
        target: a tensor, a layer, or a model, whose linear, convolutional and attention layers are meant.
        gain: factor on the standard deviation, positive.
        input_mean: what every input of the layers is around (1/2 behind a sigmoid); their biases take it out again.
        generator: source of the random numbers; torch's own state is then left alone.
        frozen: initialise parameters that do not require a gradient, too.
        recurse: look into the modules inside ``target``.

    Returns:
        ``target``.

    Raises:
        RecipeError: there is nothing to initialise, or an argument cannot be used. Nothing was changed.
    """
    squared = positive("xavier_normal_", "gain", gain) ** 2
    mean = finite("xavier_normal_", "input_mean", input_mean)
    _normal(target, "xavier_normal_", partial(_mean_fan, squared), Reach(generator, frozen, recurse))
    return _centred(target, mean, frozen=frozen, recurse=recurse)


def xavier_uniform_(  # noqa: PLR0913 - as he_normal_
    target: Target,
    *,
    gain: float = 1.0,
    input_mean: float = 0.0,
    generator: torch.Generator | None = None,
    frozen: bool = False,
    recurse: bool = True,
) -> Target:
    """Draw weights from U(-a, a), a = gain · sqrt(6/(fan_in + fan_out)), and set biases to 0.

    The variance, a²/3, is that of :func:`xavier_normal_`, and so are the arguments. Source: Glorot & Bengio 2010,
    Eq. 16.
    """
    squared = positive("xavier_uniform_", "gain", gain) ** 2
    mean = finite("xavier_uniform_", "input_mean", input_mean)
    _uniform(target, "xavier_uniform_", partial(_mean_fan, squared), Reach(generator, frozen, recurse))
    return _centred(target, mean, frozen=frozen, recurse=recurse)


def he_normal_(  # noqa: PLR0913 - what torch.nn.init takes, and what every recipe takes
    target: Target,
    *,
    mode: str = Mode.FAN_IN.value,
    nonlinearity: str = "relu",
    negative_slope: float | None = None,
    generator: torch.Generator | None = None,
    frozen: bool = False,
    recurse: bool = True,
) -> Target:
    """Draw weights from N(0, 2/fan) and set biases to 0.

    For layers before a ReLU or one of its relatives. Source: He et al. 2015, Eq. 10 (fan_in), 14 (fan_out), 15 (leaky).

    >>> import torch
    >>> from torch import nn
    >>> from init_monitor import recipes
    >>> net = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU())
    >>> _ = recipes.he_normal_(net, generator=torch.Generator().manual_seed(0))
    >>> bool(abs(net[2].weight.var() * 256 - 1) < 0.05)
    True

    Args:
        target: a tensor, a layer, or a model, whose linear, convolutional and attention layers are meant.
        mode: ``"fan_in"`` keeps the forward pass, ``"fan_out"`` the backward pass.
        nonlinearity: the activation that follows, as torch.nn.functional calls it; also gelu, silu, mish, elu, selu, …
        negative_slope: a of a leaky ReLU; ``None`` for the default of ``nonlinearity``.
        generator: source of the random numbers; torch's own state is then left alone.
        frozen: initialise parameters that do not require a gradient, too.
        recurse: look into the modules inside ``target``.

    Returns:
        ``target``.

    Raises:
        RecipeError: there is nothing to initialise, or an argument cannot be used. Nothing was changed.
    """
    variance = _one_fan("he_normal_", mode, nonlinearity, negative_slope)
    return _normal(target, "he_normal_", variance, Reach(generator, frozen, recurse))


def he_uniform_(  # noqa: PLR0913 - as he_normal_
    target: Target,
    *,
    mode: str = Mode.FAN_IN.value,
    nonlinearity: str = "relu",
    negative_slope: float | None = None,
    generator: torch.Generator | None = None,
    frozen: bool = False,
    recurse: bool = True,
) -> Target:
    """Draw weights from U(-a, a), a = sqrt(6/fan), and set biases to 0.

    The variance, a²/3, is that of :func:`he_normal_`, and so are the arguments. Source: He et al. 2015, Eq. 10 and 14.
    """
    variance = _one_fan("he_uniform_", mode, nonlinearity, negative_slope)
    return _uniform(target, "he_uniform_", variance, Reach(generator, frozen, recurse))


def lecun_normal_(
    target: Target, *, generator: torch.Generator | None = None, frozen: bool = False, recurse: bool = True
) -> Target:
    """Draw weights from N(0, 1/fan_in) and set biases to 0; the arguments are those of :func:`xavier_normal_`.

    For layers before SELU, which needs exactly this. Source: LeCun et al. 1998, Eq. 16; Klambauer et al. 2017.
    """
    variance = _one_fan("lecun_normal_", Mode.FAN_IN.value, "linear", None)
    return _normal(target, "lecun_normal_", variance, Reach(generator, frozen, recurse))


def _centred(target: Target, input_mean: float, *, frozen: bool, recurse: bool) -> Target:
    if input_mean and isinstance(target, nn.Module):
        centre_biases(target, input_mean, frozen=frozen, recurse=recurse)
    return target


def _mean_fan(squared_gain: float, weight: Weight) -> float:
    return squared_gain * xavier_variance(weight.fan_in, weight.fan_out)


def _one_fan(recipe: str, mode: str, nonlinearity: str, negative_slope: float | None) -> Variance:
    squared = squared_gain(recipe, nonlinearity, negative_slope)
    backward = chosen(mode, Mode, recipe, "mode") is Mode.FAN_OUT
    return lambda weight: squared / (weight.fan_out if backward else weight.fan_in)


def _normal(target: Target, recipe: str, variance: Variance, reach: Reach) -> Target:
    for weight in weights_of(target, recipe, frozen=reach.frozen, recurse=reach.recurse):
        std = math.sqrt(variance(weight))
        weight.fill(partial(nn.init.normal_, std=std, generator=reach.generator), reach.generator)
    zero_biases(target, frozen=reach.frozen, recurse=reach.recurse)
    return target


def _uniform(target: Target, recipe: str, variance: Variance, reach: Reach) -> Target:
    for weight in weights_of(target, recipe, frozen=reach.frozen, recurse=reach.recurse):
        bound = math.sqrt(3.0 * variance(weight))
        weight.fill(partial(nn.init.uniform_, a=-bound, b=bound, generator=reach.generator), reach.generator)
    zero_biases(target, frozen=reach.frozen, recurse=reach.recurse)
    return target
