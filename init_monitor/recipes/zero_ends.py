"""Residual branches that start at zero, so that each block starts as the identity."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

from init_monitor.errors import InitMonitorWarning, RecipeError
from init_monitor.recipes.biases import zero_biases
from init_monitor.recipes.blocks import need_blocks, structure_for, without_end
from init_monitor.recipes.fill import fill
from init_monitor.recipes.layer_kinds import is_frozen_parameter
from init_monitor.recipes.weights import weights_of
from init_monitor.structure.layers import modules_by_name


def zero_init_residual_(
    model: nn.Module,
    seen: Any,  # noqa: ANN401 - whatever the model takes
    *,
    frozen: bool = False,
) -> tuple[str, ...]:
    """Set the last layer of every residual branch to zero: each block starts as the identity.

    The variance then neither grows forward nor backward, and the layer itself still gets a gradient. If a normalisation
    ends the branch its weight is set to zero. Nothing is drawn; the other layers keep their weights. Sources: Goyal et
    al. 2017, Section 5.1; Zhang et al. 2019, "Fixup initialization", Section 3.

    >>> import torch
    >>> from torch import nn
    >>> from init_monitor import recipes
    >>> class Block(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
    ...     def forward(self, x):
    ...         return x + self.second(torch.relu(self.first(x)))
    >>> model, x = nn.Sequential(Block(), Block()), torch.ones(2, 8)
    >>> recipes.zero_init_residual_(model, x), bool((model(x) == x).all())
    (('0.second', '1.second'), True)

    Args:
        model: the network.
        seen: a batch, or the network's :class:`~init_monitor.records.Structure`.
        frozen: write parameters that do not require a gradient, too.

    Returns:
        The modules that were set to zero. A branch that ends in an activation is left alone with a warning: behind a
        ReLU a zero gets no gradient. There is a warning, too, if the forward multiplies a branch by a tensor of its own
        (LayerScale, ReZero), which must then not be zero as well.

    Raises:
        RecipeError: no residual addition was seen, or no branch has an end that can be set to zero.
    """
    recipe = "zero_init_residual_"
    blocks = need_blocks(structure_for(model, seen, recipe), recipe)
    left = without_end(blocks)
    if len(left) == len(blocks):
        message = (
            f"{recipe}: none of the {len(blocks)} residual branches ends in a layer with weights ({left[0]} ends in"
            f" {blocks[0].residual.branch!r}). Use rescale_residual_ instead."
        )
        raise RecipeError(message)
    if left:
        _warn(f"{recipe} left {len(left)} of {len(blocks)} branches alone, which do not end in a layer: {_some(left)}.")
    modules = modules_by_name(model)
    zeroed = dict.fromkeys(block.end.module for block in blocks if block.end is not None)
    written = tuple(name for name in zeroed if zero_layer(modules[name], frozen=frozen))
    factored = [block.residual.name for block in blocks if block.end is not None and block.has_own_factor]
    if factored:
        _warn(
            f"{recipe}: the forward multiplies {len(factored)} of {len(blocks)} branches by a tensor (LayerScale, ReZero):"
            f" {_some(factored)}. It must not start at or near 0 as well: two zeros in a row get no gradient."
        )
    return written


def zero_layer(layer: nn.Module, *, frozen: bool) -> bool:
    """Set weight and bias of one layer to 0, and return whether there was one that may be written."""
    if all(map(is_frozen_parameter, layer.parameters())) and not frozen:
        return False
    if isinstance(layer, (nn.Linear, nn.modules.conv._ConvNd)):  # noqa: SLF001
        for weight in weights_of(layer, "zero_init_residual_", frozen=True, recurse=False):
            if frozen or not is_frozen_parameter(weight.tensor):
                weight.fill(nn.init.zeros_)
        zero_biases(layer, frozen=frozen, recurse=False)
        return True
    for name, parameter in layer.named_parameters(recurse=False):
        if name in {"weight", "bias"} and (frozen or not is_frozen_parameter(parameter)):
            fill(parameter, nn.init.zeros_)
    return True


def _warn(message: str) -> None:
    warnings.warn(f"init_monitor: {message}", InitMonitorWarning, stacklevel=3)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")  # noqa: PLR2004
