"""The weight of a layer that its plan is about: which parameter it is, its variance now, and its fans."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from init_monitor.analysis.initialiser import Fans
from init_monitor.recipes.embedding import TABLES
from init_monitor.recipes.layer_kinds import is_mixing
from init_monitor.recipes.recurrent import recipe_of
from init_monitor.recipes.weights import Weight, weights_of
from init_monitor.structure.layers import NORMALISATIONS


def weight_of(module: nn.Module) -> tuple[str, Tensor | None]:
    """Return the name and the tensor of the weight that a plan is about; no tensor if no recipe writes it."""
    if isinstance(module, nn.MultiheadAttention):
        held = module._parameters  # noqa: SLF001
        name = "in_proj_weight" if held.get("in_proj_weight") is not None else "q_proj_weight"
        return name, held.get(name)
    if recipe_of(module):
        name = next((n for n, _ in module.named_parameters(recurse=False) if n.startswith("weight_ih")), "weight")
        return name, module._parameters.get(name)  # noqa: SLF001
    if isinstance(module, (*TABLES, *NORMALISATIONS)) or is_mixing(module):
        original = getattr(getattr(module, "parametrizations", None), "weight", None)
        if isinstance(original, nn.Module):
            return "weight", next(original.parameters(recurse=False))
        return "weight", module._parameters.get("weight")  # noqa: SLF001
    return "weight", None


def variance_of(tensor: Tensor, module: nn.Module) -> float:
    """Return the variance of a layer's weight now; NaN for a normalisation, whose weight is a scale."""
    if isinstance(module, NORMALISATIONS) or not tensor.numel():
        return math.nan
    parts = [weight.tensor for weight in parts_of(module)]
    value = parts[0] if len(parts) == 1 else tensor
    with torch.no_grad():
        return float(value.detach().double().var(correction=0))


def parts_of(module: nn.Module) -> list[Weight]:
    """Return the matrices of a layer that mixes units: three for an attention, else one."""
    return weights_of(module, "recommend", frozen=True, recurse=False) if is_mixing(module) else []


def fans_of(module: nn.Module) -> Fans:
    """Return the fans of a layer's weight, of an attention those of one part, of a recurrent layer those of one gate."""
    if recipe_of(module):
        return Fans(*(float(getattr(module, size)) for size in ("input_size", "hidden_size")))
    parts = parts_of(module)
    return Fans(parts[0].fan_in, parts[0].fan_out) if parts else Fans()
