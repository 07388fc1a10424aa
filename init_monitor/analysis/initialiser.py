"""The choice of an initialiser: both what a finding tells a user to paste and what a plan recommends come from here.

The choice depends on where the layer stands (:class:`~init_monitor.records.plan.Place`; :mod:`.initialiser_choice` finds
out), on the activation that follows it, and on the one before it if that is not 0 at 0. Where theory leaves more than one answer the choice was measured, in networks
of 30 layers: ``benchmarks/initialisers.py``, with the result in ``docs/recipes.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.analysis.activations import Activation, Shape, activation_called
from init_monitor.analysis.gains import variance_gains
from init_monitor.records import INPUT
from init_monitor.records.plan import Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.records import Layer

OUTPUT_STD = 0.01
"""As for the last layer of AlexNet, VGG and the heads of detection networks (Krizhevsky et al. 2012, Section 5)."""

GLOROT = "Glorot & Bengio 2010, Eq. 12"
GLOROT_OFFSET = "Glorot & Bengio 2010, Eq. 12 and Section 2"
HE = "He et al. 2015, Eq. 10"
HE_LEAKY = "He et al. 2015, Eq. 15"
SELF_NORMALISING = "Klambauer et al. 2017, Section 3"
MIRRORED = "Balduzzi et al. 2017, Section 4; Burkholz & Dubatovka 2019, Section 4; Xiao et al. 2018, Section 3"
SMALL_OUTPUT = "Krizhevsky et al. 2012, Section 5"
NORMAL_TABLE = "torch.nn.Embedding; Vaswani et al. 2017, Section 3.4"
RECURRENT = "Saxe et al. 2014; Jozefowicz et al. 2015, Section 2.2"
FRESH_NORMALISATION = "Ioffe & Szegedy 2015, Algorithm 1; Ba et al. 2016"
ZERO_END = "Goyal et al. 2017, Section 5.1; Zhang et al. 2019, Section 3"

GPT = "Radford et al. 2018, Section 4.1; 2019, Section 2.3"
SMALL = f"{GPT}; Nguyen & Salazar 2019, Section 2.2"
RESCALED = "Shao et al. 2020, Eq. 6; Prince 2023, Section 11.4"

GPT_STD = 0.02
"""Radford et al. 2018, Section 4.1."""

NARROWEST = 768
"""Units of the narrowest stream that 0.02 was published for (GPT-1)."""

_UNDECIDED = frozenset({"Softmax", "LogSoftmax"})
"""What may follow the output layer of a classifier."""


class Fans(NamedTuple):
    """How many terms each output and each input gradient of a layer sums; 0 where that is not known."""

    forward: float = 0.0
    backward: float = 0.0


SIREN = "Sitzmann et al. 2020, 'Implicit neural representations with periodic activation functions', Section 3.2"
SIREN_FREQUENCY = 30.0
"""What its authors multiply the output of every layer by before the sine."""


@dataclass(frozen=True, slots=True)
class Initialiser:
    """How one layer should be initialised.

    Attributes:
        recipe: name in ``init_monitor.recipes``; empty if the layer should stay as it is.
        options: its arguments.
        variance: Var(W) that it gives; 0 for zeros, NaN where it has no meaning or the fans are not known.
        reason: why, in a sentence.
        source: paper and equation.
        bias: the biases are drawn from U(-bias, bias); 0 where the recipe sets them.
    """

    recipe: str
    options: Mapping[str, object] = field(default_factory=dict)
    variance: float = math.nan
    reason: str = ""
    source: str = ""
    bias: float = 0.0


def siren_bound(fan_in: float, frequency: float, *, first: bool = False) -> float:
    """Return b of the U(-b, b) that a layer in front of ``sin(frequency · x)`` needs.

    >>> siren_bound(6, 30.0) * 30, siren_bound(2, 30.0, first=True)
    (1.0, 0.5)
    """
    return 1.0 / fan_in if first else math.sqrt(6.0 / fan_in) / frequency


def siren(frequency: float, fans: Fans, *, first: bool) -> Initialiser:
    """Return the initialiser of a layer in front of a sine, or of the output layer behind one."""
    variance = siren_bound(fans.forward, frequency, first=first) ** 2 / 3 if fans.forward else math.nan
    reason = f"A sine of {frequency:g} times its output follows"
    reason += ": it takes the coordinates." if first else ", or comes before it: what a sine gets has variance 1."
    return Initialiser("siren_", {"frequency": frequency, "first": first}, variance, reason, SIREN)


def initialiser_for(
    layer: Layer,
    *,
    place: Place = Place.HIDDEN,
    before: Activation | None = None,
    fans: Fans | None = None,
) -> Initialiser:
    """Return the initialiser that a layer needs.

    >>> from init_monitor.records import Layer, Role
    >>> chosen = initialiser_for(Layer("fc", "fc", "Linear", Role.WEIGHT, 0, activation="ReLU", fan_in=8, fan_out=4))
    >>> chosen.recipe, dict(chosen.options), chosen.variance
    ('he_normal_', {'nonlinearity': 'relu'}, 0.25)

    Args:
        layer: as it was executed.
        place: where it stands in the network.
        before: the activation that the layer's input comes from, if it is known.
        fans: of the weight, if they are known better than the layer itself says.
    """
    if place is Place.OUTPUT:
        return _output(layer, before, fans or fans_of(layer))
    if place is Place.HIDDEN:
        return _hidden(layer, before, fans or fans_of(layer))
    if place is Place.EMBEDDING:
        reason = "Each output is one row: variance 1 is a standard input for the next layer."
        return Initialiser("embedding_", {"std": 1.0}, 1.0, reason, NORMAL_TABLE)
    if place is Place.NORMALISATION:
        return Initialiser(
            "normalisation_defaults_", reason="It starts as a plain normalisation.", source=FRESH_NORMALISATION
        )
    if place is Place.RECURRENT:
        return recurrent(layer.torch_kind, fans or fans_of(layer))
    reason = "It ends a residual branch: at zero the block starts as the identity."
    return Initialiser("zero_init_residual_", {}, 0.0, reason, ZERO_END)


def mirrored(layer: Layer, fans: Fans, slope: float, *, first: bool) -> Initialiser:
    """Return the initialiser of a layer in a deep plain chain of rectifiers: orthogonal, on pairs of units of opposite sign.

    Its weights have the variance that He's have. Behind a pair the signal arrives ``1 + slope`` times as large as it left.
    """
    options: dict[str, object] = {"first": True} if first else {}
    if slope:
        options["slope"] = slope
    gain = 2 / (1 + slope**2) if first else 2 / (1 + slope) ** 2
    reason = (
        f"It lies in a deep chain of {layer.activation} without normalisation or skips: random weights make all samples alike"
        " there; pairs of units of opposite sign pass the whole signal on."
    )
    return Initialiser("mirrored_", options, _over(gain, fans), reason, MIRRORED)


def recurrent(kind: str, fans: Fans) -> Initialiser:
    """Return the initialiser of a recurrent layer, whose fans are input size and hidden size."""
    recipe = f"{kind.removesuffix('Cell').lower()}_"
    forget = " and its forget gate starts open" if recipe == "lstm_" else ""
    reason = f"Orthogonal recurrent weights keep the state's length over time{forget}."
    return Initialiser(recipe, {}, _xavier(fans), reason, RECURRENT)


def transformer(reason: str, fans: Fans, additions: int = 0) -> Initialiser:
    """Return the initialiser of a linear layer in a transformer block, by the width of the stream that it reads or writes.

    Args:
        reason: where the layer lies.
        fans: of its weight, of an attention those of one of its three parts.
        additions: of the residual stream that it writes into; 0 if it only reads one.
    """
    width = int(fans.backward if additions else fans.forward)
    wide = stream_std(width) if width else GPT_STD
    narrow = f", of only {width} units: 0.02 is for wide ones" if wide != GPT_STD else ""
    std = wide / math.sqrt(additions or 1)
    return Initialiser("gpt_", {"std": std}, std**2, f"{reason}{narrow}.", SMALL if narrow else GPT)


def stream_std(width: int) -> float:
    """Return the standard deviation for a layer on a transformer's stream of ``width`` units.

    0.02 is right for the widths it was chosen for; the narrower the layer, the more of the signal it would lose. There it
    is sqrt(2/(5·width)), which meets 0.02 at a width of 1,000: Nguyen & Salazar 2019, Section 2.2 (SmallInit).

    >>> stream_std(768), f"{stream_std(64):.4f}"
    (0.02, '0.0791')
    """
    return GPT_STD if width >= NARROWEST else math.sqrt(2 / (5 * width))


def small_embedding(reason: str, width: int) -> Initialiser:
    """Return the initialiser of an embedding of ``width`` units (0 if not known) that must not start from N(0, 1)."""
    std = stream_std(width) if width else GPT_STD
    return Initialiser("embedding_", {"std": std}, std**2, reason, GPT)


def fans_of(layer: Layer) -> Fans:
    """Return the fans of a layer, or of one part of its weight (a gate, a query) where it has several."""
    return Fans(layer.forward_terms or float(layer.fan_in), layer.backward_terms or float(layer.fan_out))


def activation_before(layer: Layer, known: Mapping[str, Layer]) -> Activation | None:
    """Return the activation that a layer's input comes from, if there is one that is not 0 at 0, else any other one.

    A product or sum of several values (a gate) is no activation's output.
    """
    if not layer.direct:
        return None
    feeding = [activation_called(known[name].kind) for name in layer.inputs if name in known and name != INPUT]
    found = [one for one in feeding if one is not None and one.shape is not Shape.IDENTITY]
    return next((one for one in found if one.at_zero), next(iter(found), None))


def _output(layer: Layer, before: Activation | None, fans: Fans) -> Initialiser:
    """Return the initialiser of the output layer: small if it is wide (a reconstruction, a vocabulary), else as any other.

    A wide one with Xavier's variance starts far from every answer and first has to unlearn that. A narrow one (a classifier) does
    not, and with small weights little of the gradient reaches the layers before it: in a stack of 30 tanh layers 200 steps
    of Adam ended at a loss of 1.05 instead of 0.13.
    """
    follows = activation_called(layer.activation)
    answers = layer.activation is None or (follows is not None and follows.name in _UNDECIDED)
    small = answers and fans.backward >= fans.forward
    # Where Xavier gives even less, that is small enough.
    if layer.torch_kind == "Linear" and small and not _xavier(fans) <= OUTPUT_STD**2:
        reason = "It is a wide output layer: small weights let the network start undecided."
        return Initialiser("small_output_", {"std": OUTPUT_STD}, OUTPUT_STD**2, reason, SMALL_OUTPUT)
    return _hidden(layer, before, fans)


def _hidden(layer: Layer, before: Activation | None, fans: Fans) -> Initialiser:
    follows = activation_called(layer.activation)
    slope = layer.activation_slope
    gains = None if follows is None else variance_gains(follows, slope)
    behind = " behind a normalisation" if layer.normalised else ""
    if before is not None and before.at_zero:
        centred = _sums_rows(layer)
        # Without a bias that removes the mean, weights this large let an activation that does not saturate grow without bound.
        if centred or before.shape is Shape.BOUNDED:
            return _behind(before, 1.0 if gains is None else gains.forward, fans, centred=centred)
    if follows is not None and follows.name == "SELU":
        reason = "SELU keeps mean 0 and variance 1 with 1/fan_in."
        return Initialiser("lecun_normal_", {}, _over(1.0, fans), reason, SELF_NORMALISING)
    if follows is None or gains is None or gains.forward == 1:
        if layer.activation is None:
            reason = f"No activation follows{behind}: it should keep the variance, forward and backward."
        else:
            near = "the identity near 0" if gains is not None else "linear near 0"
            reason = f"{layer.activation} follows{behind}, {near}."
        return Initialiser("xavier_normal_", {}, _xavier(fans), reason, GLOROT)
    options: dict[str, object] = {"nonlinearity": follows.functions[0]}
    if slope is not None:
        options["negative_slope"] = slope
    lost = 1 - 1 / gains.forward
    reason = f"{layer.activation} follows{behind}, which takes {lost:.0%} of the mean square away."
    source = HE if slope is None else HE_LEAKY
    return Initialiser("he_normal_", options, _over(gains.forward, fans), reason, source)


def _behind(before: Activation, gain: float, fans: Fans, *, centred: bool) -> Initialiser:
    """Return the initialiser behind an activation that is not 0 at 0, such as a sigmoid.

    Only the variance of its output carries information about the input: the weights keep that, and the bias removes
    the mean, which would otherwise grow until all samples look the same. Glorot & Bengio (2010, Section 2) start sigmoids
    with four times the weights, by their slope at 0; for an input of variance 1 it is 4.8 times.
    """
    factor = math.sqrt(gain / before.moments.variance)
    mean = before.moments.mean
    reason = (
        f"Its input comes out of {before.name}, which leaves {before.moments.variance:.2g} of the variance and adds"
        f" {mean:.2g}: larger weights restore the one{', the bias removes the other' if centred else ''}."
    )
    options = {"gain": factor, "input_mean": mean} if centred else {"gain": factor}
    return Initialiser("xavier_normal_", options, factor**2 * _xavier(fans), reason, GLOROT_OFFSET)


def _sums_rows(layer: Layer) -> bool:
    """Say whether each output of a layer is a sum over one row of its weight, and has a bias that can remove a constant."""
    return bool(layer.bias) and layer.torch_kind in {"Linear", "Conv1d", "Conv2d", "Conv3d"}


def _xavier(fans: Fans) -> float:
    return 2.0 / (fans.forward + fans.backward) if fans.forward and fans.backward else math.nan


def _over(gain: float, fans: Fans) -> float:
    return gain / fans.forward if fans.forward else math.nan
