"""Weight normalisation: scales and biases that standardise the output of every unit on a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from init_monitor.capture.single_pass import forward, untouched
from init_monitor.errors import RecipeError
from init_monitor.recipes.choices import positive
from init_monitor.recipes.fill import fill
from init_monitor.recipes.layer_kinds import is_frozen_parameter
from init_monitor.torch_compat import eager

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTION_STD = 0.05
"""Of the direction v, as in the paper; its length does not matter."""

_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class _Normed(NamedTuple):
    """A layer under weight normalisation: w = g · v/‖v‖, one length g per unit of the output."""

    name: str
    module: nn.Module
    length: Tensor
    direction: Tensor


def weight_norm_(  # noqa: PLR0913 - what every recipe for a whole network takes, and a number
    model: nn.Module,
    batch: Any,  # noqa: ANN401 - whatever the model takes
    *,
    std: float = DIRECTION_STD,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    frozen: bool = False,
) -> dict[str, float]:
    """Draw the directions of weight-normalised layers, then give every unit mean 0 and variance gain² by one forward.

    With t = v·x/‖v‖ over the batch, g = gain/σ(t) and b = -gain·μ(t)/σ(t), layer by layer as the batch reaches them. Both forms of
    torch are known: ``torch.nn.utils.parametrizations.weight_norm`` (original0, original1) and the older
    ``torch.nn.utils.weight_norm`` (weight_g, weight_v), over dimension 0 of linear layers and convolutions. Other layers stay
    as they are. Source: Salimans & Kingma 2016, "Weight normalization", Section 3, Eq. 5 and 6.

    >>> from torch import nn
    >>> from init_monitor import recipes
    >>> normed = nn.utils.parametrizations.weight_norm
    >>> net = nn.Sequential(*[m for _ in range(20) for m in (normed(nn.Linear(32, 32)), nn.ReLU())])
    >>> x = torch.randn(256, 32, generator=torch.Generator().manual_seed(0))
    >>> variances = recipes.weight_norm_(net, x, generator=torch.Generator().manual_seed(1))
    >>> all(abs(variance - 1) < 0.01 for variance in variances.values())
    True

    Args:
        model: the network; it runs in train mode, and its buffers, modes and gradients stay as they were.
        batch: real data, as :func:`init_monitor.check` takes it; the more samples, the better.
        std: standard deviation of the directions, positive.
        gain: standard deviation of each output, positive.
        generator: source of the random numbers; torch's own state is then left alone.
        frozen: initialise parameters that do not require a gradient, too.

    Returns:
        The variance of each layer's output, by module name in execution order.

    Raises:
        RecipeError: no layer is under weight normalisation, the batch reached none, or a unit's output does not vary over it.
            The weights are then what they were before.
        TypeError: ``model`` is no module.
    """
    std, gain = positive("weight_norm_", "std", std), positive("weight_norm_", "gain", gain)
    if not isinstance(model, nn.Module):
        message = f"weight_norm_ needs a torch.nn.Module as its model, got {type(model).__name__}."
        raise TypeError(message)
    found = [one for one in _normed(model) if frozen or not is_frozen_parameter(one.direction)]
    if not found:
        message = (
            "weight_norm_: no linear or convolutional layer of this model is under weight normalisation over dimension 0, so there"
            " is nothing to initialise."
        )
        raise RecipeError(message)
    kept = {p: p.detach().clone() for one in found for p in one.module.parameters()}
    variances: dict[str, float] = {}
    try:
        for one in found:
            fill(one.direction, lambda v: nn.init.normal_(v, std=std, generator=generator), generator)
            _unit(one)
        handles = [one.module.register_forward_hook(_Standardising(one, gain, variances)) for one in found]
        try:
            with untouched(model), torch.no_grad(), eager():
                model.train()
                forward(model, batch)
        finally:
            for handle in handles:
                handle.remove()
        _check_reached(variances)
    except BaseException:
        with torch.no_grad():
            for parameter, value in kept.items():
                parameter.copy_(value)
        raise
    return variances


def _normed(model: nn.Module) -> Iterator[_Normed]:
    """Give the layers whose weight is a length per unit of the output times a direction."""
    for name, module in model.named_modules():
        if not isinstance(module, _KINDS):
            continue
        held = dict(module.named_parameters())
        for length, direction in (
            ("parametrizations.weight.original0", "parametrizations.weight.original1"),
            ("weight_g", "weight_v"),
        ):
            if length in held and direction in held and held[length].numel() == len(held[direction]):
                yield _Normed(name, module, held[length], held[direction])


def _check_reached(variances: dict[str, float]) -> None:
    if not variances:
        message = "weight_norm_: the batch reached no layer that is under weight normalisation."
        raise RecipeError(message)


def _unit(one: _Normed) -> None:
    """Give every unit a weight of length 1, and no bias."""
    with torch.no_grad():
        one.length.fill_(1.0)
        if isinstance(one.module.bias, Tensor):
            one.module.bias.zero_()


class _Standardising:
    """Sets length and bias of a layer when the batch reaches it, and hands on what it gives with them."""

    def __init__(self, one: _Normed, gain: float, variances: dict[str, float]) -> None:
        self._one, self._gain, self._variances = one, gain, variances

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:  # noqa: ANN401 - a hook
        del args
        one = self._one
        if one.name in self._variances or not isinstance(output, Tensor):
            return None
        units = -1 if isinstance(module, nn.Linear) else output.dim() - one.direction.dim() + 1
        rows = output.movedim(units, -1).flatten(0, -2).double()
        std, mean = rows.std(0, correction=0), rows.mean(0)
        if not bool((std > 0).all()) or not bool(std.isfinite().all()):
            message = (
                f"weight_norm_: a unit of {one.name!r} gives the same for the whole batch, or a number that is not finite."
                " Give a batch of real data, with more than one sample."
            )
            raise RecipeError(message)
        factor, bias = self._gain / std, module.bias
        shift = -mean * factor if isinstance(bias, Tensor) else torch.zeros_like(mean)
        one.length.copy_(factor.view_as(one.length))
        if isinstance(bias, Tensor):
            bias.copy_(shift)
        standard = rows * factor + shift
        self._variances[one.name] = float(standard.var(correction=0))
        shape = output.movedim(units, -1).shape
        return standard.view(shape).movedim(-1, units).to(output.dtype)
