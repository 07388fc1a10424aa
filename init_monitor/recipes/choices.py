"""The closed choices of the recipes, and what each activation requires of the weights before it."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, NoReturn, TypeVar

from init_monitor.analysis.activations import ACTIVATIONS, activation_called
from init_monitor.analysis.gains import variance_gains
from init_monitor.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterable

Choice = TypeVar("Choice", bound=Enum)


class Mode(str, Enum):
    """Which pass He's initialisation keeps: ``fan_in`` the forward, ``fan_out`` the backward one."""

    FAN_IN = "fan_in"
    FAN_OUT = "fan_out"


class Spread(str, Enum):
    """Where a factor on a residual branch goes: into its last layer, or evenly into all of them."""

    LAST = "last"
    EVEN = "even"


def chosen(value: object, choices: type[Choice], recipe: str, argument: str) -> Choice:
    """Return the member of ``choices`` that ``value`` names.

    Raises:
        RecipeError: it names none.
    """
    try:
        return choices(value)
    except ValueError:
        refuse(recipe, argument, _alternatives(f'"{choice.value}"' for choice in choices), value)


def squared_gain(recipe: str, nonlinearity: object, negative_slope: object = None) -> float:
    """Return the factor on the weight variance that makes up for the activation that follows.

    ``1 / E[f(z)²]`` for a standard normal z: 2 for ReLU (He et al. 2015, Eq. 10), 2/(1+a²) for a leaky ReLU (Eq. 15);
    1 by convention for tanh, sigmoid and none (Glorot & Bengio 2010).

    >>> squared_gain("he_normal_", "relu"), squared_gain("he_normal_", "leaky_relu", 1.0)
    (2.0, 1.0)

    Raises:
        RecipeError: the name or the slope cannot be used.
    """
    if negative_slope is not None:
        return 2.0 / (1.0 + finite(recipe, "negative_slope", negative_slope) ** 2)
    known = activation_called(nonlinearity) if isinstance(nonlinearity, str) else None
    gains = None if known is None else variance_gains(known)
    if known is not None and known.name == "Sigmoid":
        return 1.0  # a name that torch.nn.init uses, with gain 1 as well
    if gains is None:
        names = [row.functions[0] for row in ACTIVATIONS if variance_gains(row) and row.functions]
        refuse(
            recipe, "nonlinearity", _alternatives(f'"{name}"' for name in (*names, "linear", "sigmoid")), nonlinearity
        )
    return gains.forward


def positive(recipe: str, argument: str, value: object) -> float:
    """Return ``value`` if it is a positive finite number.

    Raises:
        RecipeError: it is not.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < math.inf:
        refuse(recipe, argument, "a positive finite number", value)
    return float(value)


def finite(recipe: str, argument: str, value: object) -> float:
    """Return ``value`` if it is a finite number.

    Raises:
        RecipeError: it is not.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        refuse(recipe, argument, "a finite number", value)
    return float(value)


def count(recipe: str, argument: str, value: object) -> int:
    """Return ``value`` if it is a whole number from 1.

    Raises:
        RecipeError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        refuse(recipe, argument, "a whole number from 1", value)
    return value


def refuse(recipe: str, argument: str, expected: str, got: object) -> NoReturn:
    """Raise the error for an argument that cannot be used.

    Raises:
        RecipeError: always.
    """
    message = f"{recipe}: {argument} must be {expected}, got {got!r}."
    raise RecipeError(message)


def _alternatives(names: Iterable[str]) -> str:
    return " or ".join(names)
