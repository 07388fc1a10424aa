"""Which recipe each layer of a network needs, by what follows it and where it stands."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from init_monitor.analysis.initialiser import Initialiser
from init_monitor.analysis.initialiser_choice import choice_for
from init_monitor.analysis.residual_blocks import blocks_by_end, output_layer
from init_monitor.recipes.embedding import TABLES
from init_monitor.recipes.layer_kinds import is_mixing
from init_monitor.recipes.planned_weight import fans_of, parts_of, variance_of, weight_of
from init_monitor.recipes.recurrent import recipe_of
from init_monitor.recipes.skip_reasons import spared, unknown
from init_monitor.records import Role
from init_monitor.records.plan import LayerPlan, Place
from init_monitor.structure.layers import NORMALISATIONS, modules_by_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.records import Layer, Structure


def assign(model: nn.Module, structure: Structure) -> tuple[LayerPlan, ...]:
    """Return a plan for every layer with weights that ran, in execution order, each weight once.

    Args:
        model: the network; only read.
        structure: the network as it was executed.
    """
    return tuple(_Assignment(model, structure))


class _Assignment:
    def __init__(self, model: nn.Module, structure: Structure) -> None:
        self._modules = modules_by_name(model)
        self._structure = structure
        self._done: dict[int, str] = {}

    def __iter__(self) -> Iterator[LayerPlan]:
        planned: set[str] = set()
        for layer in self._structure.layers:
            module = self._modules.get(layer.module)
            if module is None or layer.module in planned or layer.role not in {Role.WEIGHT, Role.NORMALISATION}:
                continue
            planned.add(layer.module)
            yield self._plan(layer, layer.module, module)
            if isinstance(module, nn.MultiheadAttention):
                # Its output projection is called as a function: the attention layer stands for it.
                name = f"{layer.module}.out_proj".lstrip(".")
                yield self._plan(layer, name, module.out_proj)

    def _plan(self, layer: Layer, name: str, module: nn.Module) -> LayerPlan:
        prefix = f"{name}." if name else ""
        parameter, tensor = weight_of(module)
        plan = LayerPlan(name, type(module).__name__, self._place(name, module), f"{prefix}{parameter}")
        if tensor is None:
            return replace(plan, reason=unknown(layer, plan))
        if tensor.is_floating_point():
            plan = replace(plan, current_variance=variance_of(tensor, module))
        reason = spared(module, tensor)
        first = plan.parameter if reason else self._done.setdefault(id(tensor), plan.parameter)
        if first != plan.parameter:
            reason = f"It is tied to {first}, which is initialised."
        chosen = Initialiser("", reason=reason) if reason else self._chosen(layer, plan, module)
        if not chosen.recipe:
            return replace(plan, reason=chosen.reason)
        return replace(
            plan,
            target_variance=chosen.variance,
            recipe=chosen.recipe,
            options=chosen.options,
            reason=chosen.reason,
            source=chosen.source,
            scale_free=layer.normalised,
            bias=chosen.bias,
        )

    def _place(self, name: str, module: nn.Module) -> Place:
        if name in blocks_by_end(self._structure):
            return Place.RESIDUAL_END
        if isinstance(module, TABLES):
            return Place.EMBEDDING
        if isinstance(module, NORMALISATIONS) or "Norm" in type(module).__name__:
            return Place.NORMALISATION
        if recipe_of(module):
            return Place.RECURRENT
        output = output_layer(self._structure)
        return Place.OUTPUT if output is not None and name == output.module else Place.HIDDEN

    def _chosen(self, layer: Layer, plan: LayerPlan, module: nn.Module) -> Initialiser:
        fans = fans_of(module)
        here = blocks_by_end(self._structure)[plan.layer].end if plan.place is Place.RESIDUAL_END else layer
        zero = is_mixing(module) and not parts_of(module)[0].tensor.any()
        return choice_for(here or layer, self._structure, place=plan.place, fans=fans, zero=zero)
