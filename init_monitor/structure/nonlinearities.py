"""What each activation module does to a signal: where it is flat, where it saturates, what sign it keeps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import nn

from init_monitor.measures import Knee

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KNEE_DERIVATIVE = 0.05
"""An element is saturated where the activation's derivative is below this share of its largest value: fewer than one
twentieth of the gradient passes, as at |tanh| > 0.975."""

DISTRIBUTION_KNEE = 0.99
"""A softmax is saturated where one class holds this much of the probability: its Jacobian p(1-p) is below 0.01."""


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
    """

    kind: str
    rectifier: bool = False
    flat_below: bool = False
    piecewise_linear: bool = False
    knee: Knee | None = None
    distribution: bool = False


_TANH_KNEE = Knee(0.0, math.sqrt(1 - KNEE_DERIVATIVE))
_SIGMOID_KNEE = Knee(0.5, math.sqrt(1 - KNEE_DERIVATIVE) / 2)
_SOFTSIGN_KNEE = Knee(0.0, 1 - math.sqrt(KNEE_DERIVATIVE))


def _between(low: float, high: float) -> Knee:
    return Knee((low + high) / 2, (high - low) / 2)


def _hard(module: nn.Module) -> Nonlinearity:
    low, high = float(getattr(module, "min_val", 0.0)), float(getattr(module, "max_val", 1.0))
    return Nonlinearity(type(module).__name__, knee=_between(low, high))


def _fixed(**properties: object) -> Callable[[nn.Module], Nonlinearity]:
    return lambda module: Nonlinearity(type(module).__name__, **properties)  # type: ignore[arg-type]


NONLINEARITIES: Mapping[type[nn.Module], Callable[[nn.Module], Nonlinearity]] = {
    nn.ReLU: _fixed(rectifier=True, flat_below=True, piecewise_linear=True),
    nn.ReLU6: _fixed(rectifier=True, flat_below=True),
    nn.LeakyReLU: _fixed(rectifier=True, piecewise_linear=True),
    nn.PReLU: _fixed(rectifier=True, piecewise_linear=True),
    nn.RReLU: _fixed(rectifier=True, piecewise_linear=True),
    nn.ELU: _fixed(rectifier=True),
    nn.CELU: _fixed(rectifier=True),
    nn.SELU: _fixed(rectifier=True),
    nn.GELU: _fixed(rectifier=True),
    nn.SiLU: _fixed(rectifier=True),
    nn.Mish: _fixed(rectifier=True),
    nn.Hardswish: _fixed(rectifier=True),
    nn.Tanh: _fixed(knee=_TANH_KNEE),
    nn.Sigmoid: _fixed(knee=_SIGMOID_KNEE),
    nn.Softsign: _fixed(knee=_SOFTSIGN_KNEE),
    nn.Hardtanh: _hard,
    nn.Hardsigmoid: _fixed(knee=_between(0.0, 1.0)),
    nn.Softmax: _fixed(knee=Knee(0.0, DISTRIBUTION_KNEE), distribution=True),
    nn.Softplus: _fixed(),
    nn.LogSigmoid: _fixed(),
    nn.Softshrink: _fixed(),
    nn.Hardshrink: _fixed(),
    nn.Tanhshrink: _fixed(),
    nn.Threshold: _fixed(),
    nn.LogSoftmax: _fixed(),
    nn.Softmin: _fixed(),
    nn.GLU: _fixed(),
}


_FUNCTIONS: Mapping[str, Nonlinearity] = {
    cls.__name__.lower(): describe(cls())
    for cls, describe in NONLINEARITIES.items()
    if cls not in {nn.Threshold, nn.Softmin}
}
"""By name as a function without underscores, with torch's default arguments."""


def nonlinearity_of_function(name: str) -> Nonlinearity:
    """Return the properties of an activation that is called as a function, for instance ``leaky_relu``."""
    known = _FUNCTIONS.get(name.replace("_", ""))
    return Nonlinearity(name) if known is None else replace(known, kind=name)


def nonlinearity_of(module: nn.Module) -> Nonlinearity | None:
    """Return the properties of an activation module (or of the activation it derives from), else ``None``."""
    for cls in type(module).__mro__:
        describe = NONLINEARITIES.get(cls)
        if describe is not None:
            return describe(module)
    return None
