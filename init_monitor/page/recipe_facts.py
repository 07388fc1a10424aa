"""What the page needs to know of a network to tell what a recipe would make of its signal, as JSON values.

The recursion itself is in ``explorer/propagated.js``; here is what it reads of a layer, of an addition, and of a switch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from init_monitor.records import Role
from init_monitor.records.quantities import Quantity
from init_monitor.rules.exploding_activations import ExplodingActivations
from init_monitor.rules.vanishing_activations import VanishingActivations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from init_monitor.analysis.initialiser import Initialiser
    from init_monitor.records import Layer, Residual, StepRecord, Structure
    from init_monitor.records.plan import LayerPlan

LEAVES_BIASES = frozenset({"siren_", "embedding_", "normalisation_defaults_"})
"""Recipes that do not set a bias to zero."""

SUMS = (
    Quantity.RESIDUAL_VARIANCE_RATIO,
    Quantity.RESIDUAL_GROWTH,
    Quantity.RESIDUAL_SUM_VAR,
    Quantity.RESIDUAL_SUM_GRADIENT_VAR,
)
"""What is told of an addition, in this order."""

WARNS = {"exploding": ExplodingActivations.warning_change, "vanishing": VanishingActivations.warning_change}
"""Changes of the variance from which the page calls a layer exploding or vanishing."""


def act_of(switch: int, chosen: Initialiser | LayerPlan, current: float, target: float) -> dict[str, Any]:
    """Return what a switch does to the weights of a layer.

    Args:
        switch: its number.
        chosen: the recipe.
        current: Var(W) now, NaN if it is not known here or has no meaning.
        target: Var(W) that the recipe gives, likewise.
    """
    return {
        "switch": switch,
        "current": number(current),
        "target": 0.0 if chosen.recipe == "zero_init_residual_" else number(target),
        "zeroes": chosen.recipe not in LEAVES_BIASES and not chosen.bias,
        "centred": "input_mean" in chosen.options,
    }


def layer_facts(
    layer: Layer, acts: Sequence[Mapping[str, Any]], structure: Structure, *, bias: float = math.nan
) -> dict[str, Any]:
    """Return what the recursion reads of a layer.

    Args:
        layer: as it ran.
        acts: :func:`act_of` for each switch that changes its weights.
        structure: its network.
        bias: variance of its bias, NaN if it has none or it is not known here.
    """
    known = structure.by_name()
    slopes = [known[name].activation_slope for name in layer.inputs if name in known]
    return {
        "name": layer.name,
        "kind": layer.torch_kind,
        "role": str(layer.role),
        "inputs": list(layer.inputs),
        "forward_terms": layer.forward_terms or float(layer.fan_in),
        "backward_terms": layer.backward_terms or float(layer.fan_out),
        "slope": slopes[0] if layer.role is Role.ACTIVATION and slopes else None,
        "bias": number(bias),
        "parameter": layer.bias,
        "acts": list(acts),
        "switch": acts[0]["switch"] if acts else -1,
        "beside": any(layer.name in residual.layers for residual in structure.residuals),
    }


def addition_facts(residual: Residual) -> dict[str, Any]:
    """Return what the recursion reads of a residual addition."""
    return {
        "name": residual.name,
        "skip": residual.skip,
        "branch": residual.branch,
        "skip_scale": number(residual.skip_scale),
        "depth": residual.depth,
    }


def sums_of(record: StepRecord, names: Iterable[str]) -> list[list[float | None] | None]:
    """Return the numbers of each addition in a record, ``None`` for one that was not measured."""
    table = record.residual_table
    return [[number(table.at(name, one)) for one in SUMS] if name in table.index else None for name in names]


def number(value: float) -> float | None:
    """Return what JSON can hold, to four digits: a picture shows no more."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
