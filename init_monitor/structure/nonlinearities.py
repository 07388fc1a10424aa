"""What each activation module does to a signal: where it is flat, where it saturates, what sign it keeps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from init_monitor.analysis.activations import ACTIVATIONS, Shape, activation_called
from init_monitor.measures import Knee

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from init_monitor.analysis.activations import Activation


@dataclass(frozen=True, slots=True)
class Nonlinearity:
    """The properties of one activation that measuring and judging need.

    Attributes:
        kind: class name.
        rectifier: its output has the sign of its input, so that the units' categories can be read off the output.
        flat_below: its derivative is 0 for every negative input, so that an all-negative unit is dead.
        piecewise_linear: linear on either side of zero, so that a one-sided unit computes nothing nonlinear.
        knee: where its output counts as saturated; ``None`` for unbounded ones.
        distribution: True if the knee is counted per distribution along ``dim`` rather than per element.
        negative_slope: slope below zero, where the module names one (LeakyReLU).
    """

    kind: str
    rectifier: bool = False
    flat_below: bool = False
    piecewise_linear: bool = False
    knee: Knee | None = None
    distribution: bool = False
    negative_slope: float | None = None


def _from(row: Activation, module: nn.Module) -> Nonlinearity:
    """Return what the table knows about an activation, with the settings of the module."""
    knee = None if row.bounds is None else Knee(row.bounds.centre, row.bounds.reach)
    if isinstance(module, nn.Hardtanh) and knee is not None:
        low, high = float(module.min_val), float(module.max_val)
        knee = Knee((low + high) / 2, (high - low) / 2)
    slope = getattr(module, "negative_slope", None) if row.negative_slope is not None else None
    return Nonlinearity(
        type(module).__name__,
        rectifier=row.shape is Shape.RECTIFIER,
        flat_below=row.flat_below,
        piecewise_linear=row.piecewise_linear,
        knee=knee,
        distribution=row.shape is Shape.DISTRIBUTION and knee is not None,
        negative_slope=float(slope) if isinstance(slope, (int, float)) else None,
    )


NONLINEARITIES: Mapping[type[nn.Module], Callable[[nn.Module], Nonlinearity]] = {
    getattr(nn, row.name): partial(_from, row)
    for row in ACTIVATIONS
    if hasattr(nn, row.name) and row.shape is not Shape.IDENTITY
}
"""By the class of an activation module; nn.Identity does nothing and is not an activation."""


def nonlinearity_of_function(name: str) -> Nonlinearity:
    """Return the properties of an activation that is called as a function, for instance ``leaky_relu``."""
    known = activation_called(name)
    return Nonlinearity(name) if known is None else replace(_from(known, nn.Module()), kind=name)


def nonlinearity_of(module: nn.Module) -> Nonlinearity | None:
    """Return the properties of an activation module (or of the activation it derives from), else ``None``."""
    for cls in type(module).__mro__:
        describe = NONLINEARITIES.get(cls)
        if describe is not None:
            return describe(module)
    return None
