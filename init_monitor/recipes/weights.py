"""Which tensors a recipe writes, and how it writes them.

A recipe takes one tensor, one layer, or a whole model. What it finds there are *weights*: matrices and kernels with
their fans. They are written in place and without autograd; a tied weight once; a frozen one
(``requires_grad=False``) only if asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from init_monitor.errors import RecipeError
from init_monitor.recipes.fill import assign_computed, fill
from init_monitor.recipes.layer_kinds import CONVOLUTION, is_frozen_parameter, mixing_layers
from init_monitor.recipes.refusals import check_lazy, check_module, check_values, nothing
from init_monitor.structure.fans import fans_of, is_transposed_linear

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WEIGHT_DIMS = 2
"""A weight with fans has at least this many dimensions; a single vector is a bias or a scale."""

_ATTENTION_WEIGHTS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
_PARTS = 3
"""Query, key and value lie in one tensor of nn.MultiheadAttention."""


class Reach(NamedTuple):
    """What a recipe draws from, and how far it goes.

    Attributes:
        generator: source of the random numbers; ``None`` for torch's own.
        frozen: write parameters that do not require a gradient, too.
        recurse: look into the modules inside the target.
    """

    generator: torch.Generator | None = None
    frozen: bool = False
    recurse: bool = True


@dataclass(frozen=True, slots=True)
class Weight:
    """One weight as a recipe sees it.

    Attributes:
        name: where it is, for error texts.
        tensor: what is written; a part of a parameter where one holds several matrices (attention).
        fan_in: terms that each output sums.
        fan_out: terms that each input gradient sums.
        owner: the layer it belongs to; ``None`` for a bare tensor.
        derived: name in the owner if the weight is computed there by ``torch.nn.utils.parametrize``.
    """

    name: str
    tensor: Tensor
    fan_in: float
    fan_out: float
    owner: nn.Module | None = None
    derived: str = ""

    def fill(
        self, draw: Callable[[Tensor], object], generator: torch.Generator | None = None, *, tell: bool = True
    ) -> None:
        """Write what ``draw`` makes of a tensor of the same shape; see :func:`fill` and :func:`assign_computed`."""
        if not self.derived or self.owner is None:
            fill(self.tensor, draw, generator)
            return
        with torch.no_grad():
            values = self.tensor.clone()
            fill(values, draw, generator)
            assign_computed(self.owner, self.derived, values, self.name, tell=tell)

    def scale(self, factor: float) -> None:
        """Multiply by ``factor`` what is there now."""
        now = getattr(self.owner, self.derived) if self.derived else self.tensor
        with torch.no_grad():
            scaled = now * factor
        # The caller measures the output, where a scale that the parametrization changes would show.
        self.fill(lambda values: values.copy_(scaled), tell=False)


def weights_of(target: Tensor | nn.Module, recipe: str, *, frozen: bool, recurse: bool = True) -> list[Weight]:
    """Return the weights that a recipe for matrices and kernels writes.

    Args:
        target: a tensor of two or more dimensions; a layer; or a module, whose linear, bilinear, convolutional and
            attention layers are meant.
        recipe: name of the recipe, for error texts.
        frozen: include parameters that do not require a gradient.
        recurse: look into the modules inside ``target``.

    Raises:
        RecipeError: there is nothing to write, or it has no shape yet.
        TypeError: ``target`` is neither tensor nor module.
    """
    if isinstance(target, Tensor):
        return [_bare(target, recipe, frozen=frozen)]
    check_module(target, recipe)
    seen: set[int] = set()
    found: list[Weight] = []
    spared = 0
    for path, layer in mixing_layers(target, recurse=recurse):
        for weight, key, is_frozen in _of_layer(path, layer, recipe):
            if key in seen or not weight.tensor.numel():
                continue
            seen.add(key)
            if is_frozen and not frozen:
                spared += 1
            else:
                check_values(weight.tensor, weight.name, recipe)
                found.append(weight)
    if not found:
        nothing(recipe, target, "linear, convolutional or attention layer", spared)
    return found


def _bare(tensor: Tensor, recipe: str, *, frozen: bool) -> Weight:
    check_values(tensor, "the weight", recipe)
    if tensor.dim() < _WEIGHT_DIMS:
        message = (
            f"{recipe}: a weight with fan_in and fan_out has 2 dimensions or more, got shape {tuple(tensor.shape)}."
            " A bias or a scale is set with torch.nn.init.zeros_ or ones_."
        )
        raise RecipeError(message)
    if is_frozen_parameter(tensor) and not frozen:
        message = f"{recipe}: the parameter is frozen (requires_grad=False). Pass frozen=True if it is meant."
        raise RecipeError(message)
    return Weight("the tensor", tensor, *_fans(tensor))


def _of_layer(path: str, layer: nn.Module, recipe: str) -> Iterator[tuple[Weight, int, bool]]:
    """Yield each weight of a layer, what tells it from others, and whether it is frozen."""
    prefix = f"{path}." if path else ""
    if isinstance(layer, nn.MultiheadAttention):
        for name in _ATTENTION_WEIGHTS:
            parameter = getattr(layer, name)
            if parameter is None:
                continue
            # Query, key and value are maps of their own that happen to lie in one tensor.
            parts = parameter.detach().chunk(_PARTS) if name == "in_proj_weight" else (parameter,)
            for number, part in enumerate(parts):
                one = Weight(f"{prefix}{name}", part, *_fans(part), owner=layer)
                yield one, id(parameter) * _PARTS + number, is_frozen_parameter(parameter)
        return
    name = f"{prefix}weight"
    if parametrize.is_parametrized(layer, "weight"):
        # Reading the weight computes it, and spectral norm changes each time: read it once.
        originals = list(layer.get_submodule("parametrizations.weight").parameters(recurse=False))
        computed = cast("Tensor", layer.weight).detach()
        one = Weight(name, computed, *_fans_of(layer, computed), owner=layer, derived="weight")
        yield one, id(originals[0]) * _PARTS, all(map(is_frozen_parameter, originals))
        return
    weight = layer._parameters.get("weight")  # noqa: SLF001 - a weight that is no parameter must be told apart
    if weight is None:
        message = (
            f"{recipe}: {name} is not a parameter (the older torch.nn.utils.weight_norm recomputes it at each forward)."
            " Use torch.nn.utils.parametrizations instead, which can be given a value."
        )
        raise RecipeError(message)
    check_lazy(weight, name, recipe)
    yield Weight(name, weight, *_fans_of(layer, weight), owner=layer), id(weight) * _PARTS, is_frozen_parameter(weight)


def _fans(tensor: Tensor) -> tuple[int, int]:
    """Return fan_in and fan_out as in ``torch.nn.init``."""
    area = math.prod(tensor.shape[2:])
    return int(tensor.shape[1]) * area, int(tensor.shape[0]) * area


def _fans_of(layer: nn.Module, weight: Tensor) -> tuple[float, float]:
    """Return fan_in and fan_out of a layer: how many terms each output and each input gradient sums.

    For linear layers and plain convolutions that is what ``torch.nn.init`` reads off the shape. It is not for a transposed
    convolution, whose weight is [in, out, ...]; for groups, where an input feeds out/groups channels only; and for a
    stride, which each input meets at one in ``stride`` places.
    """
    if is_transposed_linear(layer):
        return _fans(weight.T)
    if isinstance(layer, CONVOLUTION):
        fans = fans_of(layer)
        return fans.forward, fans.backward
    return _fans(weight)
