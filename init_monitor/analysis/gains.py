"""What a healthy layer does to the signal: its expected local gain, forward and backward.

Forward, the gain of a layer is ``Var(out)/E[in²]``. It preserves the signal if it makes up for what the activation that follows
takes away: ``1 / E[f(z)²]`` for a standard normal pre-activation z. That is 2 for ReLU (He et al. 2015, Eq. 10) and,
by convention, 1 for tanh and for no activation (Glorot & Bengio 2010: f is the identity near 0). Backward, the gain
``Var(∂loss/∂in)/E[(∂loss/∂out)²]`` has to undo the derivative of the activation *before* the layer: ``1 / E[f'(z)²]``.

Both are ratios of variances; the gain of ``torch.nn.init.calculate_gain`` is a ratio of standard deviations.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.analysis.activations import Shape, activation_called, leaky_moments

if TYPE_CHECKING:
    from init_monitor.analysis.activations import Activation
    from init_monitor.records import Layer

HE = "He et al. 2015, 'Delving deep into rectifiers', Eq. 10"
GLOROT = "Glorot & Bengio 2010, 'Understanding the difficulty of training deep feedforward neural networks', Eq. 10–12"


class Gains(NamedTuple):
    """The variance gain a layer needs forward (by what follows it) and backward (by what precedes it)."""

    forward: float
    backward: float


_UNIT = Gains(1.0, 1.0)
_RECTIFIED = Gains(2.0, 2.0)


def variance_gains(activation: Activation, negative_slope: float | None = None) -> Gains | None:
    """Return the gains for an activation of the table; ``None`` where no single gain keeps the signal.

    Args:
        activation: what follows (forward) or precedes (backward) the layer.
        negative_slope: that of a leaky rectifier, if it is not torch's default.
    """
    if activation.near_identity:
        return _UNIT
    if activation.shape is not Shape.RECTIFIER:
        return None
    moments = activation.moments
    if activation.negative_slope is not None and negative_slope is not None:
        moments = leaky_moments(negative_slope)
    return Gains(1 / moments.mean_square, 1 / moments.slope_mean_square)


def gains_around(
    activation: str | None, *, flat_below: bool = False, negative_slope: float | None = None
) -> Gains | None:
    """Return the gains an activation asks of its neighbours, or ``None`` if nothing is known about it.

    >>> gains_around("ReLU"), gains_around(None), gains_around("Softmax")
    (Gains(forward=2.0, backward=2.0), Gains(forward=1.0, backward=1.0), None)
    """
    if activation is None:
        return _UNIT
    known = activation_called(activation)
    if known is None:
        return _RECTIFIED if flat_below else None
    return variance_gains(known, negative_slope)


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
