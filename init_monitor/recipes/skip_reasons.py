"""Which layers a plan leaves as they are, and why: no recipe can write them, or they were set on purpose."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.nn.utils import parametrize

from init_monitor.recipes.layer_kinds import is_frozen_parameter, is_mixing
from init_monitor.records.plan import Place

if TYPE_CHECKING:
    from torch import Tensor, nn

    from init_monitor.records import Layer
    from init_monitor.records.plan import LayerPlan

GATE = "Its biases all have one value other than 0, as in a gate that starts open: that was set on purpose."

_HOLDS_WITHIN = 0.1
"""A weight that is doubled must read as doubled, up to the rounding of half precision."""


def unknown(layer: Layer, plan: LayerPlan) -> str:
    """Return why a layer is left that has no weight a recipe knows."""
    if plan.place is not Place.NORMALISATION:
        return f"{plan.kind} is not a layer that a recipe knows: it is not known what its weight does."
    if layer.parameters:
        return "It is a normalisation that torch does not have: it is not known whether its weight starts at 1 or at 0."
    return "It has no weight."


def spared(module: nn.Module, weight: Tensor) -> str:
    """Return why a layer with a weight is left as it is, empty if it is not."""
    if not weight.is_floating_point():
        return f"Its weight is of {weight.dtype}; recipes draw floating numbers."
    if is_frozen_parameter(weight):
        return "It is frozen (requires_grad=False)."
    if _is_gate(module):
        return GATE
    if not _holds_its_scale(module):
        return "Its parametrization sets the scale of the weight, whatever it is given."
    return ""


def _is_gate(module: nn.Module) -> bool:
    """Say whether all biases are one number other than 0 while the weights differ: no default draws that."""
    bias, weight = module._parameters.get("bias"), module._parameters.get("weight")  # noqa: SLF001
    if not is_mixing(module) or bias is None or weight is None or bias.numel() == 1:
        return False
    first = bias.flatten()[0]
    return bool(first != 0) and bool((bias == first).all()) and bool((weight != weight.flatten()[0]).any())


def _holds_its_scale(module: nn.Module) -> bool:
    """Say whether a parametrized weight can be given a scale: spectral normalisation removes that again."""
    if not parametrize.is_parametrized(module, "weight"):
        return True
    computing = cast("Any", copy.deepcopy(module.get_submodule("parametrizations.weight")))
    with torch.no_grad():
        now = computing()
        try:
            computing.right_inverse(now * 2)
        except (NotImplementedError, RuntimeError):
            return False
        return bool(torch.isclose(computing().norm(), 2 * now.norm(), rtol=_HOLDS_WITHIN))
