"""Which recipe each layer of a network needs, by what follows it and where it stands."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from init_monitor.analysis.initialiser import Initialiser, activation_before, initialiser_for, recurrent
from init_monitor.analysis.residual_streams import streams
from init_monitor.recipes.blocks import Block, blocks_of, modules_by_name, output_layer
from init_monitor.recipes.embedding import TABLES
from init_monitor.recipes.gpt import GPT_STD, gpt_std, width_std
from init_monitor.recipes.layer_kinds import is_mixing, shared_weights
from init_monitor.recipes.planned_weight import fans_of, parts_of, variance_of, weight_of
from init_monitor.recipes.recurrent import recipe_of
from init_monitor.recipes.rescale import input_activation
from init_monitor.recipes.skip_reasons import spared, unknown
from init_monitor.recipes.transformer import Transformer
from init_monitor.recipes.variance_scaling import he_variance
from init_monitor.records import Role
from init_monitor.records.plan import LayerPlan, Place
from init_monitor.structure.layers import NORMALISATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.records import Layer, Structure

GPT = "Radford et al. 2018, Section 4.1; 2019, Section 2.3"
SMALL = f"{GPT}; Nguyen & Salazar 2019, Section 2.2"
RESCALED = "Shao et al. 2020, Eq. 6; Prince 2023, Section 11.4"

OWN_FACTOR = (
    "The forward multiplies its branch by a tensor (LayerScale, ReZero), which starts the block small; two zeros in a row"
    " would get no gradient."
)


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
        self._known = structure.by_name()
        self._ends = {block.end.module: block for block in blocks_of(structure) if block.end is not None}
        # A factor on the last sum of a stream is not seen, because no addition follows it: the others speak for it.
        self._scaled = {
            residual.name
            for stream in streams(structure)
            if any(one.skip_scale != 1 or one.sum_scale != 1 for one in stream.residuals)
            for residual in stream.residuals
        }
        self._output = output_layer(structure)
        self._transformer = Transformer(self._modules, structure)
        self._shared = shared_weights(model)
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
                # Its output projection is called as a function: the attention layer speaks for it.
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
        )

    def _place(self, name: str, module: nn.Module) -> Place:
        if name in self._ends:
            return Place.RESIDUAL_END
        if isinstance(module, TABLES):
            return Place.EMBEDDING
        if isinstance(module, NORMALISATIONS) or "Norm" in type(module).__name__:
            return Place.NORMALISATION
        if recipe_of(module):
            return Place.RECURRENT
        return Place.OUTPUT if self._output is not None and name == self._output.module else Place.HIDDEN

    def _chosen(self, layer: Layer, plan: LayerPlan, module: nn.Module) -> Initialiser:
        if plan.place is Place.RESIDUAL_END:
            return self._end(self._ends[plan.layer], layer, module)
        if plan.place is Place.HIDDEN and self._transformer.has(layer, plan.layer, module):
            return _gpt("It lies in a transformer block", module)
        if plan.place is Place.EMBEDDING:
            return self._table(layer, module)
        if plan.place is Place.RECURRENT:
            return recurrent(recipe_of(module).rstrip("_").upper(), fans_of(module))
        return self._plain(layer, module, plan.place)

    def _plain(self, layer: Layer, module: nn.Module, place: Place) -> Initialiser:
        before = activation_before(layer, self._known)
        return initialiser_for(layer, place=place, before=before, fans=fans_of(module))

    def _table(self, layer: Layer, module: nn.Module) -> Initialiser:
        weight = module.weight
        reason = ""
        if isinstance(weight, Tensor) and id(weight) in self._shared:
            reason = "It is tied to another layer: N(0, 1) would make the logits as large as sqrt(dimension)."
        elif self._transformer:
            reason = "It feeds the residual stream of a transformer."
        if not reason:
            return initialiser_for(layer, place=Place.EMBEDDING)
        return Initialiser("embedding_", {"std": GPT_STD}, GPT_STD**2, reason, GPT)

    def _end(self, block: Block, layer: Layer, module: nn.Module) -> Initialiser:
        if self._transformer.has(layer, layer.module, module):
            reason = f"It writes into a stream of {block.blocks} additions, whose variances add up"
            if block.blocks == 1:
                reason = "It lies in a transformer block"
            return _gpt(reason, module, block.blocks)
        if is_mixing(module) and block.residual.name in self._scaled:
            fed_by = input_activation(layer, self._known)
            reason = "The forward scales the addition itself: the branch is to have the variance of the skip."
            variance = he_variance(fans_of(module).forward, fed_by)
            return Initialiser("he_normal_", {"nonlinearity": fed_by}, variance, reason, RESCALED)
        if block.has_own_factor:
            # Where it starts at zero already it stays so: somebody weighed it against the factor.
            if not is_mixing(module) or parts_of(module)[0].tensor.any():
                place = Place.HIDDEN if is_mixing(module) else Place.NORMALISATION
                return replace(self._plain(layer, module, place), reason=OWN_FACTOR)
            return Initialiser("", reason=OWN_FACTOR)
        chosen = initialiser_for(layer, place=Place.RESIDUAL_END)
        # What a normalisation has for a weight is a scale, of which a variance says nothing.
        return replace(chosen, variance=math.nan) if isinstance(module, NORMALISATIONS) else chosen


def _gpt(reason: str, module: nn.Module, additions: int = 0) -> Initialiser:
    """Return the choice for a linear layer of a transformer block, by the width of the stream that it reads or writes."""
    (weight, *_) = parts_of(module)
    width = int(weight.fan_out if additions else weight.fan_in)
    wide = width_std(width)
    narrow = f", of only {width} units: 0.02 is for wide ones" if wide != GPT_STD else ""
    std = gpt_std(additions or 1, wide)
    return Initialiser("gpt_", {"std": std}, std**2, f"{reason}{narrow}.", SMALL if narrow else GPT)
