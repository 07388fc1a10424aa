"""Which recipe each layer of a network needs, by what follows it and where it stands."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn

from init_monitor.analysis.residual_streams import streams
from init_monitor.recipes.blocks import Block, blocks_of, modules_by_name, output_layer
from init_monitor.recipes.choices import forward_gain
from init_monitor.recipes.embedding import TABLES
from init_monitor.recipes.gpt import GPT_STD, gpt_std, width_std
from init_monitor.recipes.output import OUTPUT_STD
from init_monitor.recipes.recurrent import recipe_of
from init_monitor.recipes.residual import input_activation
from init_monitor.recipes.skip_reasons import spared, unknown
from init_monitor.recipes.transformer import Transformer
from init_monitor.recipes.variance_scaling import he_variance, xavier_variance
from init_monitor.recipes.weights import Weight, is_mixing, shared_weights, weights_of
from init_monitor.records import Role
from init_monitor.records.plan import LayerPlan, Place
from init_monitor.structure.layers import NORMALISATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from init_monitor.records import Layer, Structure

GLOROT = "Glorot & Bengio 2010, Eq. 12"
HE = "He et al. 2015, Eq. 10"
HE_LEAKY = "He et al. 2015, Eq. 15"
SELF_NORMALISING = "Klambauer et al. 2017, Section 3"
SMALL_OUTPUT = "Krizhevsky et al. 2012, Section 5"
NORMAL_TABLE = "torch.nn.Embedding; Vaswani et al. 2017, Section 3.4"
RECURRENT = "Saxe et al. 2014; Jozefowicz et al. 2015, Section 2.2"
FRESH_NORMALISATION = "Ioffe & Szegedy 2015, Algorithm 1; Ba et al. 2016"
ZERO_END = "Goyal et al. 2017, Section 5.1; Zhang et al. 2019, Section 3"
GPT = "Radford et al. 2018, Section 4.1; 2019, Section 2.3"
SMALL = f"{GPT}; Nguyen & Salazar 2019, Section 2.2"
RESCALED = "Shao et al. 2020, Eq. 6; Prince 2023, Section 11.4"

OWN_FACTOR = (
    "The forward multiplies its branch by a tensor (LayerScale, ReZero), which starts the block small; two zeros in a row"
    " would get no gradient."
)

_TORCH_NAMES = {"leakyrelu": "leaky_relu"}
_UNDECIDED = frozenset({"softmax", "logsoftmax"})
"""What may follow the output layer of a classifier."""


class Choice(NamedTuple):
    """A recipe for one layer, before the numbers are known."""

    place: Place
    recipe: str
    options: Mapping[str, object]
    reason: str
    source: str


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
        parameter, tensor = _weight_of(module)
        plan = LayerPlan(name, type(module).__name__, self._place(name, module), f"{prefix}{parameter}")
        if tensor is None:
            return replace(plan, reason=unknown(layer, plan))
        if tensor.is_floating_point():
            plan = replace(plan, current_variance=_variance(tensor, module))
        reason = spared(module, tensor)
        first = plan.parameter if reason else self._done.setdefault(id(tensor), plan.parameter)
        if first != plan.parameter:
            reason = f"It is tied to {first}, which is initialised."
        choice = Choice(plan.place, "", {}, reason, "") if reason else self._choice(layer, name, module)
        if not choice.recipe:
            return replace(plan, reason=choice.reason)
        target = _target(choice, module)
        return replace(plan, target_variance=target, scale_free=layer.normalised, **choice._asdict())

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

    def _choice(self, layer: Layer, name: str, module: nn.Module) -> Choice:
        place = self._place(name, module)
        if place is Place.RESIDUAL_END:
            return self._end(self._ends[name], layer, module)
        if place is Place.OUTPUT:
            return self._answer(layer, module)
        if place is Place.HIDDEN:
            if self._transformer.has(layer, name, module):
                return _gpt(place, "It lies in a transformer block", module)
            return self._hidden(layer)
        return self._table(module) if place is Place.EMBEDDING else _by_class(place, module)

    def _hidden(self, layer: Layer, place: Place = Place.HIDDEN) -> Choice:
        name = (layer.activation or "").replace("_", "").casefold()
        gain = forward_gain(name)
        behind = " behind a normalisation" if layer.normalised else ""
        if name == "selu":
            return Choice(
                place, "lecun_normal_", {}, "SELU keeps mean 0 and variance 1 with 1/fan_in.", SELF_NORMALISING
            )
        if gain is None or gain == 1:
            if not name:
                reason = f"No activation follows{behind}: it is to keep the variance, forward and backward."
            else:
                reason = f"{layer.activation} follows{behind}, {'the identity near 0' if gain else 'linear near 0'}."
            return Choice(place, "xavier_normal_", {}, reason, GLOROT)
        nonlinearity = _TORCH_NAMES.get(name, name)
        options: dict[str, object] = {"nonlinearity": nonlinearity}
        slope = self._slope(layer)
        if slope is not None:
            options["negative_slope"] = slope
        lost = 1 - 1 / he_variance(1.0, nonlinearity, slope)
        reason = f"{layer.activation} follows{behind}, which takes {lost:.0%} of the mean square away."
        return Choice(place, "he_normal_", options, reason, HE if slope is None else HE_LEAKY)

    def _slope(self, layer: Layer) -> float | None:
        """Return the negative slope of the activation that follows, if it has one of its own."""
        for one in self._structure.layers:
            fed = one.role is Role.ACTIVATION and one.kind == layer.activation and layer.name in one.inputs
            slope = getattr(self._modules.get(one.module), "negative_slope", None) if fed else None
            if isinstance(slope, float):
                return slope
        return None

    def _answer(self, layer: Layer, module: nn.Module) -> Choice:
        name = (layer.activation or "").replace("_", "").casefold()
        decides = isinstance(module, nn.Linear) and (not name or name in _UNDECIDED)
        if decides and xavier_variance(layer.fan_in, layer.fan_out) > OUTPUT_STD**2:
            reason = "It is the output layer: small weights let the network start undecided."
            return Choice(Place.OUTPUT, "small_output_", {"std": OUTPUT_STD}, reason, SMALL_OUTPUT)
        return self._hidden(layer, Place.OUTPUT)

    def _table(self, module: nn.Module) -> Choice:
        weight = module.weight
        if isinstance(weight, Tensor) and id(weight) in self._shared:
            reason = "It is tied to another layer: N(0, 1) would make the logits as large as sqrt(dimension)."
            return Choice(Place.EMBEDDING, "embedding_", {"std": GPT_STD}, reason, GPT)
        if self._transformer:
            reason = "It feeds the residual stream of a transformer."
            return Choice(Place.EMBEDDING, "embedding_", {"std": GPT_STD}, reason, GPT)
        reason = "Each output is one row: variance 1 is a standard input for the next layer."
        return Choice(Place.EMBEDDING, "embedding_", {"std": 1.0}, reason, NORMAL_TABLE)

    def _end(self, block: Block, layer: Layer, module: nn.Module) -> Choice:
        place = Place.RESIDUAL_END
        if self._transformer.has(layer, layer.module, module):
            reason = f"It writes into a stream of {block.blocks} additions, whose variances add up"
            if block.blocks == 1:
                reason = "It lies in a transformer block"
            return _gpt(place, reason, module, block.blocks)
        if is_mixing(module) and block.residual.name in self._scaled:
            fed_by = input_activation(layer, self._known)
            reason = "The forward scales the addition itself: the branch is to have the variance of the skip."
            return Choice(place, "he_normal_", {"nonlinearity": fed_by}, reason, RESCALED)
        if block.has_own_factor:
            # Where it starts at zero already it stays so: somebody weighed it against the factor.
            if not is_mixing(module) or _own(module)[0].tensor.any():
                plain = self._hidden(layer, place) if is_mixing(module) else _by_class(Place.NORMALISATION, module)
                return plain._replace(place=place, reason=OWN_FACTOR)
            return Choice(place, "", {}, OWN_FACTOR, "")
        reason = "It ends a residual branch: at zero the block starts as the identity."
        return Choice(place, "zero_init_residual_", {}, reason, ZERO_END)


def _gpt(place: Place, reason: str, module: nn.Module, additions: int = 0) -> Choice:
    """Return the choice for a linear layer of a transformer block, by the width of the stream that it reads or writes."""
    (weight, *_) = _own(module)
    width = int(weight.fan_out if additions else weight.fan_in)
    std = width_std(width)
    narrow = f", of only {width} units: 0.02 is for wide ones" if std != GPT_STD else ""
    options = {"std": gpt_std(additions or 1, std)}
    return Choice(place, "gpt_", options, f"{reason}{narrow}.", SMALL if narrow else GPT)


def _by_class(place: Place, module: nn.Module) -> Choice:
    if place is Place.NORMALISATION:
        return Choice(place, "normalisation_defaults_", {}, "It starts by only normalising.", FRESH_NORMALISATION)
    recipe = recipe_of(module)
    forget = " and its forget gate starts open" if recipe == "lstm_" else ""
    return Choice(
        place, recipe, {}, f"Orthogonal recurrent weights keep the state's length over time{forget}.", RECURRENT
    )


def _weight_of(module: nn.Module) -> tuple[str, Tensor | None]:
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


def _variance(tensor: Tensor, module: nn.Module) -> float:
    if isinstance(module, NORMALISATIONS) or not tensor.numel():
        return math.nan
    own = [weight.tensor for weight in _own(module)]
    value = own[0] if len(own) == 1 else tensor
    with torch.no_grad():
        return float(value.detach().double().var(correction=0))


def _own(module: nn.Module) -> list[Weight]:
    return weights_of(module, "recommend", frozen=True, recurse=False) if is_mixing(module) else []


def _target(choice: Choice, module: nn.Module) -> float:  # noqa: PLR0911 - one number per recipe
    options = choice.options
    if choice.recipe == "zero_init_residual_":
        return math.nan if isinstance(module, NORMALISATIONS) else 0.0
    if "std" in options:
        return float(cast("float", options["std"])) ** 2
    if choice.place is Place.RECURRENT:
        return xavier_variance(*(float(getattr(module, size)) for size in ("input_size", "hidden_size")))
    own = _own(module)
    if not own:
        return math.nan
    if choice.recipe == "he_normal_":
        slope = cast("float | None", options.get("negative_slope"))
        return he_variance(own[0].fan_in, str(options["nonlinearity"]), slope)
    if choice.recipe == "lecun_normal_":
        return he_variance(own[0].fan_in, "linear")
    return xavier_variance(own[0].fan_in, own[0].fan_out)
