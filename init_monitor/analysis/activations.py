"""What is known about each activation, in one table: names, shape, moments, slopes, and where it saturates.

Everything else asks here: which names mean one function, what gain a layer before or behind it needs, whether its units can
die, how much of it may be saturated. The moments are those of ``f(z)`` for a standard normal z, by quadrature in float64;
the tests compute them again, by numerical integration and from samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KNEE_DERIVATIVE = 0.05
"""An element is saturated where the activation's derivative is below this share of its largest value: fewer than one
twentieth of the gradient passes, as at |tanh| > 0.975."""

DISTRIBUTION_KNEE = 0.99
"""A softmax is saturated where one class holds this much of the probability: its Jacobian p(1-p) is below 0.01."""


class Shape(str, Enum):
    """What kind of function an activation is."""

    IDENTITY = "identity"
    RECTIFIER = "rectifier"  # the output has the sign of the input, and grows without bound for positive inputs
    BOUNDED = "bounded"  # between two finite limits
    SMOOTH = "smooth"  # unbounded on one side, and not zero at zero
    SHRINKING = "shrinking"  # flat around zero
    GATE = "gate"  # one half of the units multiplies the other
    DISTRIBUTION = "distribution"  # over the units, rather than element by element

    def __str__(self) -> str:
        """Return the word itself."""
        return self.value


class GaussianMoments(NamedTuple):
    """E[f(z)], E[f(z)²] and E[f'(z)²] for a standard normal z."""

    mean: float = math.nan
    mean_square: float = math.nan
    slope_mean_square: float = math.nan

    @property
    def variance(self) -> float:
        """Var(f(z))."""
        return self.mean_square - self.mean**2


class Slopes(NamedTuple):
    """The smallest and the largest absolute value of the derivative."""

    smallest: float = 0.0
    largest: float = 1.0


class Bounds(NamedTuple):
    """Where a bounded activation stops passing a gradient, and which saturated shares are too many at the start.

    The shares are measured, on networks of 2 and 6 layers that learned digits from pre-activations of rms 1 to 32. Before
    tanh 50 % beyond the knee (rms 3.1) cost nothing, 69 % (rms 5.4) two to twelve times the loss, 83 % four to seventy
    times, and with 95 % next to nothing was learned. Sigmoids learned *better* with 66 %, and badly with 89 %. Functions
    that are linear up to their knee reach it earlier: 76 % cost little, 86 % as much as 69 % before tanh.

    Attributes:
        knee: pre-activation at which the derivative is a twentieth of its largest (where a hard one becomes flat).
        centre: middle of the output's range.
        reach: distance of an output from ``centre`` from which it counts as saturated.
        warning: share of saturated elements from which a start is a warning.
        critical: the same for critical.
    """

    knee: float = math.nan
    centre: float = math.nan
    reach: float = math.nan
    warning: float = 0.85
    critical: float = 0.97


@dataclass(frozen=True, slots=True)
class Activation:
    """One activation.

    Attributes:
        name: its class in ``torch.nn``, or what it would be called there.
        shape: what kind of function it is.
        functions: its names as a function in torch, the first as in ``torch.nn.functional``.
        aliases: other names in use.
        moments: for a standard normal input; NaN where an element alone says nothing.
        slopes: the range of its derivative.
        flat_below: its derivative is 0 for every negative input, so that an all-negative unit is dead.
        piecewise_linear: linear on either side of zero, so that a one-sided unit computes nothing nonlinear.
        near_identity: f(z) ≈ z near 0: by convention (Glorot & Bengio 2010) layers before it keep the variance.
        at_zero: f(0). Where it is not 0, every input of the next layer has a constant part, which weights multiply too.
        bounds: where it saturates; ``None`` if it does not.
        sums_to_one: its outputs are probabilities, whatever the scale of the input.
        negative_slope: that of torch's default arguments; ``None`` for all but leaky rectifiers.
        odd_part_is_linear: f(z) - f(-z) is proportional to z, as of a ReLU: a unit and its mirror image pass z on whole.
    """

    name: str
    shape: Shape
    functions: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    moments: GaussianMoments = GaussianMoments()  # noqa: RUF009 - a constant
    slopes: Slopes = Slopes()  # noqa: RUF009
    flat_below: bool = False
    piecewise_linear: bool = False
    near_identity: bool = False
    at_zero: float = 0.0
    bounds: Bounds | None = None
    sums_to_one: bool = False
    negative_slope: float | None = None
    odd_part_is_linear: bool = False

    @property
    def names(self) -> Iterator[str]:
        """All its names."""
        yield from (self.name, *self.functions, *self.aliases)


_HALF_NORMAL = 1 / math.sqrt(2 * math.pi)
"""E[relu(z)]."""
_TANH_KNEE = math.atanh(math.sqrt(1 - KNEE_DERIVATIVE))


def leaky_moments(slope: float) -> GaussianMoments:
    """Return the moments of a rectifier that is ``slope · z`` below zero.

    >>> leaky_moments(1.0)
    GaussianMoments(mean=0.0, mean_square=1.0, slope_mean_square=1.0)
    """
    square = (1 + slope**2) / 2
    return GaussianMoments((1 - slope) * _HALF_NORMAL, square, square)


def _leaky(name: str, function: str, slope: float) -> Activation:
    slopes = Slopes(min(slope, 1.0), max(slope, 1.0))
    return Activation(
        name,
        Shape.RECTIFIER,
        (function,),
        moments=leaky_moments(slope),
        slopes=slopes,
        piecewise_linear=True,
        negative_slope=slope,
        odd_part_is_linear=True,
    )


def _rectifier(
    name: str, moments: GaussianMoments, steepest: float, *aliases: str, odd_part_is_linear: bool = False
) -> Activation:
    return Activation(
        name,
        Shape.RECTIFIER,
        (name.lower(),),
        aliases,
        moments,
        Slopes(0.0, steepest),
        odd_part_is_linear=odd_part_is_linear,
    )


def _distribution(name: str, *functions: str, aliases: tuple[str, ...] = (), knee: float = math.nan) -> Activation:
    # An element's own derivative is p(1-p), at most a quarter.
    bounds = None if math.isnan(knee) else Bounds(centre=0.0, reach=knee)
    slopes = Slopes(0.0, 1 / 4)
    return Activation(name, Shape.DISTRIBUTION, functions, aliases, slopes=slopes, bounds=bounds, sums_to_one=True)


ACTIVATIONS: tuple[Activation, ...] = (
    Activation(
        "Identity",
        Shape.IDENTITY,
        (),
        ("Linear",),
        GaussianMoments(0.0, 1.0, 1.0),
        Slopes(1.0, 1.0),
        near_identity=True,
    ),
    # Rectifiers. The moments of RReLU are those of its random slope, uniform from 1/8 to 1/3; ReLU6 cuts off next to nothing.
    Activation(
        "ReLU",
        Shape.RECTIFIER,
        ("relu",),
        (),
        leaky_moments(0.0),
        Slopes(0.0, 1.0),
        flat_below=True,
        piecewise_linear=True,
        odd_part_is_linear=True,
    ),
    Activation("ReLU6", Shape.RECTIFIER, ("relu6",), (), leaky_moments(0.0), Slopes(0.0, 1.0), flat_below=True),
    _leaky("LeakyReLU", "leaky_relu", 0.01),
    _leaky("PReLU", "prelu", 0.25),
    Activation(
        "RReLU",
        Shape.RECTIFIER,
        ("rrelu",),
        (),
        GaussianMoments((1 - 11 / 48) * _HALF_NORMAL, (1 + 97 / 1728) / 2, (1 + 97 / 1728) / 2),
        Slopes(1 / 8, 1.0),
        piecewise_linear=True,
        negative_slope=11 / 48,
    ),
    _rectifier("ELU", GaussianMoments(0.160521, 0.644945, 0.668102), 1.0),
    _rectifier("CELU", GaussianMoments(0.160521, 0.644945, 0.668102), 1.0),
    _rectifier("SELU", GaussianMoments(0.0, 1.0, 1.071595), 1.7581),
    # z · s(z) with s(z) + s(-z) = 1.
    _rectifier(
        "GELU",
        GaussianMoments(0.282095, 0.425221, 0.455851),
        1.1289,
        "NewGELU",
        "FastGELU",
        "QuickGELU",
        "GELUTanh",
        odd_part_is_linear=True,
    ),
    _rectifier("SiLU", GaussianMoments(0.206621, 0.355776, 0.379482), 1.0998, "Swish", odd_part_is_linear=True),
    _rectifier("Mish", GaussianMoments(0.240404, 0.452342, 0.479084), 1.0885),
    _rectifier("Hardswish", GaussianMoments(0.166217, 0.331567, 0.358532), 1.5, "HSwish", odd_part_is_linear=True),
    Activation(
        "Tanh",
        Shape.BOUNDED,
        ("tanh",),
        (),
        GaussianMoments(0.0, 0.394295, 0.464403),
        near_identity=True,
        bounds=Bounds(_TANH_KNEE, 0.0, math.sqrt(1 - KNEE_DERIVATIVE), 0.65, 0.9),
    ),
    Activation(
        "Sigmoid",
        Shape.BOUNDED,
        ("sigmoid", "expit", "special_expit"),
        (),
        GaussianMoments(0.5, 0.293379, 0.044836),
        Slopes(0.0, 1 / 4),
        at_zero=0.5,
        bounds=Bounds(2 * _TANH_KNEE, 0.5, math.sqrt(1 - KNEE_DERIVATIVE) / 2, 0.75, 0.9),
    ),
    Activation(
        "Softsign",
        Shape.BOUNDED,
        ("softsign",),
        (),
        GaussianMoments(0.0, 0.183014, 0.227671),
        near_identity=True,
        bounds=Bounds(1 / math.sqrt(KNEE_DERIVATIVE) - 1, 0.0, 1 - math.sqrt(KNEE_DERIVATIVE), 0.6, 0.9),
    ),
    Activation(
        "Hardtanh",
        Shape.BOUNDED,
        ("hardtanh",),
        (),
        GaussianMoments(0.0, 0.516059, 0.682702),
        near_identity=True,
        bounds=Bounds(1.0, 0.0, 1.0, 0.82, 0.97),
    ),
    Activation(
        "Hardsigmoid",
        Shape.BOUNDED,
        ("hardsigmoid",),
        ("HSigmoid",),
        GaussianMoments(0.5, 0.277639, 0.027703),
        Slopes(0.0, 1 / 6),
        at_zero=0.5,
        bounds=Bounds(3.0, 0.5, 0.5, 0.85, 0.97),
    ),
    Activation("Sin", Shape.BOUNDED, (), ("Sine",), GaussianMoments(0.0, 0.432332, 0.567668), near_identity=True),
    Activation(
        "Softplus",
        Shape.SMOOTH,
        ("softplus",),
        (),
        GaussianMoments(0.806059, 0.921246, 0.293379),
        at_zero=math.log(2),
        odd_part_is_linear=True,
    ),
    Activation(
        "LogSigmoid",
        Shape.SMOOTH,
        ("logsigmoid", "log_sigmoid"),
        (),
        GaussianMoments(-0.806059, 0.921246, 0.293379),
        at_zero=-math.log(2),
        odd_part_is_linear=True,
    ),
    Activation("Softshrink", Shape.SHRINKING, ("softshrink",), (), GaussianMoments(0.0, 0.419279, 0.617075)),
    Activation("Hardshrink", Shape.SHRINKING, ("hardshrink",), (), GaussianMoments(0.0, 0.969136, 0.617075)),
    Activation("Tanhshrink", Shape.SHRINKING, ("tanhshrink",), (), GaussianMoments(0.0, 0.182884, 0.252992)),
    # It has no default arguments, so nothing is known of its moments.
    Activation("Threshold", Shape.SHRINKING, ("threshold",)),
    # a · f(b): the mean square of f; backward the mean over both halves.
    Activation("GLU", Shape.GATE, ("glu",), (), GaussianMoments(0.0, 0.293379, 0.169108), Slopes(0.0, math.inf)),
    Activation("ReGLU", Shape.GATE, (), (), GaussianMoments(0.0, 0.5, 0.5), Slopes(0.0, math.inf)),
    Activation("GEGLU", Shape.GATE, (), (), GaussianMoments(0.0, 0.425221, 0.440536), Slopes(0.0, math.inf)),
    Activation("SwiGLU", Shape.GATE, (), (), GaussianMoments(0.0, 0.355776, 0.367629), Slopes(0.0, math.inf)),
    _distribution("Softmax", "softmax", "special_softmax", aliases=("Softmax2d",), knee=DISTRIBUTION_KNEE),
    _distribution("Softmin", "softmin"),
    _distribution("GumbelSoftmax", "gumbel_softmax"),
    Activation("LogSoftmax", Shape.DISTRIBUTION, ("log_softmax", "special_log_softmax")),
)
"""Every activation of ``torch.nn``, and what else is in common use."""


def key_of(name: str) -> str:
    """Return a name as it is compared, so that ``LeakyReLU`` and ``leaky_relu`` are one.

    >>> key_of("LeakyReLU") == key_of("leaky_relu")
    True
    """
    return name.replace("_", "").casefold()


BY_KEY: Mapping[str, Activation] = MappingProxyType({key_of(name): one for one in ACTIVATIONS for name in one.names})
"""The table by every name, as :func:`key_of` writes it."""


@lru_cache(maxsize=1024)
def activation_called(name: str | None) -> Activation | None:
    """Return what is known of an activation, by its class or function name; ``None`` if it is not in the table.

    >>> activation_called("leaky_relu").name, activation_called("Swish").name, activation_called("MyActivation")
    ('LeakyReLU', 'SiLU', None)
    """
    return None if name is None else BY_KEY.get(key_of(name))
