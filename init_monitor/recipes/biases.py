"""Biases: 0, or values that cancel the mean of the input."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from init_monitor.recipes.fill import fill
from init_monitor.recipes.layer_kinds import CONVOLUTION, mixing_layers
from init_monitor.structure.fans import is_transposed_linear

if TYPE_CHECKING:
    from collections.abc import Callable

_ConvTranspose = nn.modules.conv._ConvTransposeNd  # noqa: SLF001 - the one common base of transposed convolutions


def zero_biases(target: Tensor | nn.Module, *, frozen: bool, recurse: bool = True) -> None:
    """Set the biases of the layers in ``target`` to 0 (a bare tensor has none)."""
    if isinstance(target, Tensor):
        return
    for _, layer in mixing_layers(target, recurse=recurse):
        bias = layer.in_proj_bias if isinstance(layer, nn.MultiheadAttention) else layer.bias
        if isinstance(bias, Tensor) and (frozen or bias.requires_grad):
            fill(bias, nn.init.zeros_)


def centre_biases(target: nn.Module, input_mean: float, *, frozen: bool, recurse: bool = True) -> None:
    """Set the biases of linear layers and convolutions so that an input of ``input_mean`` everywhere gives 0.

    At the padded edge of a convolution the input is 0, and the bias subtracts too much.
    """
    for _, layer in mixing_layers(target, recurse=recurse):
        bias = layer.bias if isinstance(layer, (nn.Linear, CONVOLUTION)) or is_transposed_linear(layer) else None
        if isinstance(bias, Tensor) and (frozen or bias.requires_grad):
            fill(bias, _to(-input_mean * _summed(layer)))


def spread_biases(target: nn.Module, bound: float, generator: torch.Generator | None = None) -> None:
    """Draw the bias of one layer from U(-bound, bound); what its units do then changes at different inputs."""
    if isinstance(target.bias, Tensor) and target.bias.requires_grad:
        fill(target.bias, partial(nn.init.uniform_, a=-bound, b=bound, generator=generator), generator)


def _to(values: Tensor) -> Callable[[Tensor], object]:
    return lambda bias: bias.copy_(values)


def _summed(layer: nn.Module) -> Tensor:
    """Return, for each output, the sum of its weights."""
    weight = layer.weight
    if not isinstance(weight, Tensor):
        return torch.zeros(())
    weight = weight.detach()
    if is_transposed_linear(layer):
        return weight.sum(dim=0)
    if isinstance(layer, _ConvTranspose):
        # [in, out/groups, ...]; of a kernel's elements one in ``stride`` meets a given output.
        summed: Tensor = weight.unflatten(0, (layer.groups, -1)).flatten(3).sum(dim=(1, 3))
        return summed.flatten() / math.prod(layer.stride)
    return weight.flatten(1).sum(dim=1)
