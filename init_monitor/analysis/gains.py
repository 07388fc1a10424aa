"""What a healthy layer does to the signal: its expected local gain, forward and backward.

Forward, the gain of a layer is ``Var(out)/E[in²]``. It keeps the signal if it undoes what the activation that follows
takes away: ``1 / E[f(z)²]`` for a standard normal pre-activation z. That is 2 for ReLU (He et al. 2015, Eq. 10) and,
by convention, 1 for tanh and for no activation (Glorot & Bengio 2010: f is the identity near 0). Backward, the gain
``Var(∂loss/∂in)/E[(∂loss/∂out)²]`` has to undo the derivative of the activation *before* the layer: ``1 / E[f'(z)²]``.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.records import Layer

HE = "He et al. 2015, 'Delving deep into rectifiers', Eq. 10"
GLOROT = "Glorot & Bengio 2010, 'Understanding the difficulty of training deep feedforward neural networks', Eq. 10–12"


class Gains(NamedTuple):
    """The gain a layer needs forward (by what follows it) and backward (by what precedes it)."""

    forward: float
    backward: float


_UNIT = Gains(1.0, 1.0)
_RECTIFIED = Gains(2.0, 2.0)


def _leaky(slope: float) -> Gains:
    gain = 2 / (1 + slope**2)
    return Gains(gain, gain)


GAINS: Mapping[str, Gains] = MappingProxyType(
    {
        "relu": _RECTIFIED,
        "relu6": _RECTIFIED,
        "leakyrelu": _leaky(0.01),  # torch's default negative_slope
        "prelu": _leaky(0.25),  # torch's initial slope
        "rrelu": _leaky(0.2369),  # root mean square of torch's default range 1/8 … 1/3
        # Second moments under a standard normal, by quadrature (the tests compute them again).
        "gelu": Gains(2.3517, 2.1937),
        "silu": Gains(2.8108, 2.6352),
        "mish": Gains(2.2107, 2.0873),
        "hardswish": Gains(3.0160, 2.7892),
        "elu": Gains(1.5505, 1.4968),
        "celu": Gains(1.5505, 1.4968),
        "selu": Gains(1.0, 0.9332),
        "tanh": _UNIT,
        "softsign": _UNIT,
        "hardtanh": _UNIT,
        "identity": _UNIT,
    }
)
"""By activation, lower case without underscores, so that ``LeakyReLU`` and ``leaky_relu`` are one."""


def gains_around(activation: str | None, *, flat_below: bool = False) -> Gains | None:
    """Return the gains an activation asks of its neighbours, or ``None`` if nothing is known about it.

    >>> gains_around("ReLU"), gains_around(None), gains_around("Softmax")
    (Gains(forward=2.0, backward=2.0), Gains(forward=1.0, backward=1.0), None)
    """
    if activation is None:
        return _UNIT
    known = GAINS.get(activation.replace("_", "").casefold())
    return known or (_RECTIFIED if flat_below else None)


def healthy_gain(layer: Layer) -> float:
    """Return the forward gain ``layer`` needs; NaN where none is asked for (unknown activation, a norm follows)."""
    gains = None if layer.normalised else gains_around(layer.activation, flat_below=layer.flat_below)
    return math.nan if gains is None else gains.forward


def healthy_backward_gain(before: Layer | None) -> float:
    """Return the backward gain of a layer fed by ``before``; NaN where none is asked for."""
    gains = None
    if before is not None and not before.normalised:
        gains = gains_around(before.activation, flat_below=before.flat_below)
    return math.nan if gains is None else gains.backward


def gain_source(activation: str | None) -> str:
    """Return where the expected gain of layers before ``activation`` comes from."""
    known = gains_around(activation)
    return GLOROT if known is None or known == _UNIT else HE
