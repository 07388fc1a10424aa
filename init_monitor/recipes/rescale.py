"""RescaleNet: residual branches drawn so that every block adds the same share to the output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from init_monitor.analysis.initialiser_choice import input_activation
from init_monitor.errors import RecipeError
from init_monitor.recipes.biases import zero_biases
from init_monitor.recipes.blocks import need_blocks, structure_for
from init_monitor.recipes.choices import Spread, chosen, squared_gain
from init_monitor.recipes.weights import weights_of
from init_monitor.records import Role
from init_monitor.structure.layers import modules_by_name

if TYPE_CHECKING:
    import torch

    from init_monitor.analysis.residual_blocks import Block
    from init_monitor.records import Structure


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
    - a plain ``x + F(x)``: α = 1 cannot be changed from here. Var(x_k) grows as (k+L)/L, so it doubles over all L blocks
      instead of 2^L; each block still adds the same to the output. For branches without bias and normalisation, of ReLUs
      only, this *is* RescaleNet up to the factor 1/sqrt(2) on the output.

    A weight layer whose input comes out of a ReLU gets 2/fan_in, any other 1/fan_in, so that He's initialisation keeps the variance
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
    modules, done = modules_by_name(model), []
    for block in blocks:
        alpha, beta = block.residual.skip_scale, block.residual.branch_scale
        factor = alpha / beta / math.sqrt(block.number - 1 + block.blocks)
        carriers = block.weights if where is Spread.EVEN else block.weights[-1:]
        for layer in block.weights:
            share = factor ** (1 / len(carriers)) if layer in carriers else 1.0
            gain = squared_gain(recipe, input_activation(layer, structure))
            for weight in weights_of(modules[layer.module], recipe, frozen=frozen):
                std = share * math.sqrt(gain / weight.fan_in)
                weight.fill(partial(nn.init.normal_, std=std, generator=generator), generator)
            zero_biases(modules[layer.module], frozen=frozen)
        names = tuple(layer.module for layer in carriers)
        done.append(BranchScale(block.residual.name, block.number, block.blocks, alpha, beta, factor, names))
    return tuple(done)


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
