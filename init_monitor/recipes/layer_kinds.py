"""Which layers of a model have weights that a recipe for matrices and kernels writes, and which of those are shared or frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from init_monitor.structure.fans import is_transposed_linear

if TYPE_CHECKING:
    from collections.abc import Iterator

CONVOLUTION = nn.modules.conv._ConvNd  # noqa: SLF001 - the one common base of all convolutions

MIXING: tuple[type[nn.Module], ...] = (nn.Linear, nn.Bilinear, CONVOLUTION, nn.MultiheadAttention)
"""Layers whose weight mixes units; recurrent layers and embeddings have recipes of their own."""


def shared_weights(model: nn.Module) -> set[int]:
    """Return the identities of the parameters that more than one module holds."""
    holders: dict[int, int] = {}
    for module in model.modules():
        for parameter in module._parameters.values():  # noqa: SLF001 - named_parameters() leaves tied ones out
            if parameter is not None:
                holders[id(parameter)] = holders.get(id(parameter), 0) + 1
    return {identity for identity, count in holders.items() if count > 1}


def is_shared(layer: nn.Module, model: nn.Module) -> bool:
    """Say whether a weight of ``layer`` is held by another module of ``model``, too."""
    shared = shared_weights(model)
    return any(id(parameter) in shared for parameter in layer.parameters(recurse=False) if parameter.dim() > 1)


def is_mixing(module: nn.Module) -> bool:
    """Say whether a recipe for matrices and kernels writes the weight of this layer."""
    return isinstance(module, MIXING) or is_transposed_linear(module)


def is_frozen_parameter(tensor: object) -> bool:
    """Say whether ``tensor`` is a parameter that does not train. A plain tensor is not frozen, it never trains."""
    return isinstance(tensor, nn.Parameter) and not tensor.requires_grad


def mixing_layers(target: nn.Module, *, recurse: bool) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers in ``target``, or it alone, whose weight mixes units."""
    for path, module in target.named_modules() if recurse else [("", target)]:
        if is_mixing(module):
            yield path, module
