"""What a recipe cannot write, and the errors that say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.parameter import UninitializedParameter, is_lazy

from init_monitor.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor


def check_values(parameter: Tensor, name: str, recipe: str) -> None:
    """Refuse a parameter that cannot hold what a recipe draws.

    Raises:
        RecipeError: it belongs to a lazy layer that has not run, is on the meta device, or is not of a floating dtype.
    """
    check_lazy(parameter, name, recipe)
    if parameter.is_meta:
        message = (
            f"{recipe}: {name} is on the meta device, where nothing can be drawn. Give the model memory first, with"
            ' model.to_empty(device="cpu").'
        )
        raise RecipeError(message)
    if not parameter.is_floating_point():
        message = f"{recipe}: {name} must be of a floating dtype, got {parameter.dtype}."
        raise RecipeError(message)


def check_lazy(parameter: Tensor, name: str, recipe: str) -> None:
    """Refuse a parameter of a lazy layer that has not run.

    Raises:
        RecipeError: it is one.
    """
    if isinstance(parameter, UninitializedParameter) or is_lazy(parameter):
        message = (
            f"{recipe}: {name} belongs to a lazy layer and has no shape yet. Run one forward of the model first,"
            " for instance model(batch)."
        )
        raise RecipeError(message)


def nothing(recipe: str, target: nn.Module, wanted: str, spared: int) -> None:
    """Raise the error for a target that has nothing to write.

    Raises:
        RecipeError: always.
    """
    what = type(target).__name__
    if spared:
        message = (
            f"{recipe}: every {wanted} of {what} is frozen (requires_grad=False, {spared} in all), so there is nothing to"
            " initialise. Pass frozen=True to include them."
        )
    else:
        message = f"{recipe}: {what} has no {wanted}, so there is nothing to initialise. Give a module that has one."
    raise RecipeError(message)


def check_module(target: object, recipe: str) -> None:
    """Refuse what is no module.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(target, nn.Module):
        message = f"{recipe} takes a tensor, a layer or a model, got {type(target).__name__}."
        raise TypeError(message)
