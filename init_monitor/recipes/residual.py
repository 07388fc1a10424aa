"""Residual networks without normalisation: what keeps ``x + F(x)`` from doubling the variance at every block."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from init_monitor.analysis.gains import gains_around
from init_monitor.errors import InitMonitorWarning, RecipeError
from init_monitor.recipes.blocks import modules_by_name, need_blocks, structure_for, without_end
from init_monitor.recipes.choices import Spread, chosen, count, squared_gain
from init_monitor.recipes.fill import fill
from init_monitor.recipes.weights import is_frozen_parameter, weights_of, zero_biases
from init_monitor.records import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from init_monitor.recipes.blocks import Block
    from init_monitor.records import Layer, Structure


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


@dataclass(frozen=True, slots=True)
class BranchScale:
    """What :func:`rescale_residual_` did to one block.

    Attributes:
        residual: name of the addition.
        number: k, from 1.
        blocks: L.
        alpha: the factor on x that the model's own forward applies (1 if it does not).
        beta: the factor on F(x) that the model's own forward applies.
        factor: what the standard deviation of F was multiplied by through its weights.
        layers: the modules that carry the factor.
    """

    residual: str
    number: int
    blocks: int
    alpha: float
    beta: float
    factor: float
    layers: tuple[str, ...]


def rescale_residual_(
    model: nn.Module,
    seen: Any,  # noqa: ANN401 - whatever the model takes
    *,
    spread: str = Spread.EVEN.value,
    generator: torch.Generator | None = None,
    frozen: bool = False,
) -> tuple[BranchScale, ...]:
    """Draw the branches (He) so that block k of L adds the share of RescaleNet: Var(βF)/Var(αx) = 1/(k-1+L).

    RescaleNet is ``x_k = α_k x + β_k F(x)`` with ``α_k = sqrt((k-1+L)/(k+L))``, ``β_k = 1/sqrt(k+L)``. Weights can carry a
    factor on F but none on x: what the forward itself multiplies is read off it, and the weights get the rest,
    ``(α/β) / sqrt(k-1+L)``. So three forwards come out right:

    - ``rescaled_sum`` in the forward (α_k and β_k): the weights are He's as they are, Var(x_k) is kept.
    - ``fixed_weight_sum`` (α_k and 1/sqrt(L)): variance (2/d)(L/(k+L))^(1/N) for each of N layers, Var(x_k) is kept.
    - a plain ``x + F(x)``: α = 1 cannot be changed from here. Var(x_k) grows as (k+L)/L, so twofold over all L blocks
      instead of 2^L; each block still adds the same to the output. For branches without bias and normalisation, of ReLUs
      only, this *is* RescaleNet up to the factor 1/sqrt(2) on the output.

    A weight layer whose input comes out of a ReLU gets 2/fan_in, any other 1/fan_in, so that He's part keeps the variance
    of x for branches that begin with an activation and for those that do not. Biases are set to 0. Source: Shao et al.
    2020, Eq. 6 and Appendix A.3, A.4 (with the exponent 1/N; the 2/N printed there does not give the stated variance).

    Args:
        model: the network.
        seen: a batch, or the network's :class:`~init_monitor.records.Structure`.
        spread: ``"even"`` puts the factor evenly into all weight layers of a branch, ``"last"`` into the last one.
        generator: source of the random numbers; torch's own state is then left alone.
        frozen: initialise parameters that do not require a gradient, too.

    Returns:
        What was done to each block, in execution order.

    Raises:
        RecipeError: no residual addition was seen; a branch has no weight layer, ends in a normalisation (which would
            undo the factor), or shares its layers with another block; a factor in the forward is a tensor or zero.
    """
    recipe = "rescale_residual_"
    where = chosen(spread, Spread, recipe, "spread")
    structure = structure_for(model, seen, recipe)
    blocks = need_blocks(structure, recipe)
    _check_scalable(blocks, structure, recipe)
    modules, known, done = modules_by_name(model), structure.by_name(), []
    for block in blocks:
        alpha, beta = block.residual.skip_scale, block.residual.branch_scale
        factor = alpha / beta / math.sqrt(block.number - 1 + block.blocks)
        carriers = block.weights if where is Spread.EVEN else block.weights[-1:]
        for layer in block.weights:
            share = factor ** (1 / len(carriers)) if layer in carriers else 1.0
            gain = squared_gain(recipe, input_activation(layer, known))
            for weight in weights_of(modules[layer.module], recipe, frozen=frozen):
                std = share * math.sqrt(gain / weight.fan_in)
                weight.fill(partial(nn.init.normal_, std=std, generator=generator), generator)
            zero_biases(modules[layer.module], frozen=frozen)
        names = tuple(layer.module for layer in carriers)
        done.append(BranchScale(block.residual.name, block.number, block.blocks, alpha, beta, factor, names))
    return tuple(done)


def rescale_factors(block: int, blocks: int) -> tuple[float, float]:
    """Return RescaleNet's α_k and β_k for block k of L: ``α² + β² = 1``, and equal contribution of every block.

    Source: Shao et al. 2020, Eq. 6 and 14 with c = L.

    >>> alpha, beta = rescale_factors(1, 1)
    >>> round(alpha**2, 12), round(beta**2, 12)
    (0.5, 0.5)

    Raises:
        RecipeError: ``block`` and ``blocks`` are no whole numbers with 1 ≤ k ≤ L.
    """
    if block not in range(1, count("rescale_factors", "blocks", blocks) + 1):
        message = f"rescale_factors: block must be a whole number from 1 to blocks={blocks}, got {block}. The first block is 1."
        raise RecipeError(message)
    return math.sqrt((block - 1 + blocks) / (block + blocks)), 1.0 / math.sqrt(block + blocks)


def rescaled_sum(skip: Tensor, branch: Tensor, *, block: int, blocks: int) -> Tensor:
    """Add as RescaleNet does, in a forward of your own: ``α_k x + β_k F(x)``.

    Source: Shao et al. 2020, Eq. 6.

    Args:
        skip: x.
        branch: F(x).
        block: k, from 1.
        blocks: L.
    """
    alpha, beta = rescale_factors(block, blocks)
    total: Tensor = alpha * skip + beta * branch
    return total


def fixed_weight_sum(skip: Tensor, branch: Tensor, *, block: int, blocks: int) -> Tensor:
    """Add with a fixed residual weight: ``α_k x + F(x)/sqrt(L)``; :func:`rescale_residual_` draws the branches for it.

    Every branch then gets a gradient of one size; with :func:`rescaled_sum` the last one gets half of the first one's variance.
    Source: Shao et al. 2020, Appendix A.4, Eq. 16.
    """
    total: Tensor = rescale_factors(block, blocks)[0] * skip + branch * blocks**-0.5
    return total


def halved_sum(skip: Tensor, branch: Tensor) -> Tensor:
    """Add two terms of equal variance and keep it: ``(x + F(x))/sqrt(2)``.

    No choice of weights can do this to a plain ``x + F(x)``: it scales x, too. Source: Prince 2023, "Understanding deep
    learning", Section 11.4.
    """
    total: Tensor = (skip + branch) * math.sqrt(0.5)
    return total


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


def _check_scalable(blocks: tuple[Block, ...], structure: Structure, recipe: str) -> None:
    seen: dict[str, str] = {}
    for block in blocks:
        name, last = block.residual.name, block.end
        if not block.weights:
            message = f"{recipe}: the branch of {name} has no weight layer, so there is nothing to carry its factor."
            raise RecipeError(message)
        after = [
            layer
            for layer in structure.layers
            if layer.role is Role.NORMALISATION
            and layer.name in block.residual.layers
            and layer.depth > block.weights[-1].depth
        ]
        if after or (last is not None and last.role is Role.NORMALISATION):
            message = (
                f"{recipe}: the branch of {name} is normalised after its last weights"
                f" ({(after[0].name if after else 'its end')!r}), which undoes any factor on them."
                " RescaleNet is for networks without normalisation; here use zero_init_residual_."
            )
            raise RecipeError(message)
        for factor, word in ((block.residual.skip_scale, "x"), (block.residual.branch_scale, "F(x)")):
            if not math.isfinite(factor) or factor == 0:
                message = f"{recipe}: {name} multiplies {word} by {'a tensor' if math.isnan(factor) else factor}, expected a number other than 0."
                raise RecipeError(message)
        for layer in block.weights:
            other = seen.setdefault(layer.module, name)
            if other != name:
                message = (
                    f"{recipe}: {layer.module!r} is in the branches of both {other} and {name}, which need different"
                    " factors. Put rescaled_sum into the forward instead."
                )
                raise RecipeError(message)


def input_activation(layer: Layer, known: Mapping[str, Layer]) -> str:
    """Return the activation that a layer's input comes out of, ``"linear"`` if it comes out of none that is known."""
    feeding = [known[name] for name in layer.inputs if name in known]
    if (
        len(feeding) != 1
        or not layer.direct
        or feeding[0].role is not Role.ACTIVATION
        or gains_around(feeding[0].kind) is None
    ):
        return "linear"
    return feeding[0].kind


def _warn(message: str) -> None:
    warnings.warn(f"init_monitor: {message}", InitMonitorWarning, stacklevel=3)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")  # noqa: PLR2004
