"""The one choice of an initialiser: what a finding tells a user to paste and what a plan recommends both come from here.

A layer is chosen for by where it stands (:class:`~init_monitor.records.plan.Place`), by the activation that follows it, and
by the one before it if that one is not 0 at 0. Where theory leaves more than one answer the choice was measured, in networks
of 30 layers: ``benchmarks/initialisers.py``, with the result in ``docs/recipes.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.analysis.activations import Activation, Shape, activation_called
from init_monitor.analysis.gains import variance_gains
from init_monitor.analysis.recurrent import GATES
from init_monitor.records import INPUT, Role
from init_monitor.records.plan import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from init_monitor.records import Layer

OUTPUT_STD = 0.01
"""As for the last layer of AlexNet, VGG and the heads of detection networks (Krizhevsky et al. 2012, Section 5)."""

GLOROT = "Glorot & Bengio 2010, Eq. 12"
GLOROT_OFFSET = "Glorot & Bengio 2010, Eq. 12 and Section 2"
HE = "He et al. 2015, Eq. 10"
HE_LEAKY = "He et al. 2015, Eq. 15"
SELF_NORMALISING = "Klambauer et al. 2017, Section 3"
SMALL_OUTPUT = "Krizhevsky et al. 2012, Section 5"
NORMAL_TABLE = "torch.nn.Embedding; Vaswani et al. 2017, Section 3.4"
RECURRENT = "Saxe et al. 2014; Jozefowicz et al. 2015, Section 2.2"
FRESH_NORMALISATION = "Ioffe & Szegedy 2015, Algorithm 1; Ba et al. 2016"
ZERO_END = "Goyal et al. 2017, Section 5.1; Zhang et al. 2019, Section 3"

_EMBEDDINGS = frozenset({"Embedding", "EmbeddingBag"})
_UNDECIDED = frozenset({"Softmax", "LogSoftmax"})
"""What may follow the output layer of a classifier."""


class Fans(NamedTuple):
    """How many terms each output and each input gradient of a layer sums; 0 where that is not known."""

    forward: float = 0.0
    backward: float = 0.0


@dataclass(frozen=True, slots=True)
class Initialiser:
    """How one layer is to be initialised.

    Attributes:
        recipe: name in ``init_monitor.recipes``; empty if the layer is to stay as it is.
        options: its arguments.
        variance: Var(W) that it gives; 0 for zeros, NaN where it has no meaning or the fans are not known.
        reason: why, in a sentence.
        source: paper and equation.
    """

    recipe: str
    options: Mapping[str, object] = field(default_factory=dict)
    variance: float = math.nan
    reason: str = ""
    source: str = ""


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
            "normalisation_defaults_", reason="It starts by only normalising.", source=FRESH_NORMALISATION
        )
    if place is Place.RECURRENT:
        return recurrent(layer.kind, fans or fans_of(layer))
    reason = "It ends a residual branch: at zero the block starts as the identity."
    return Initialiser("zero_init_residual_", {}, 0.0, reason, ZERO_END)


def recurrent(kind: str, fans: Fans) -> Initialiser:
    """Return the initialiser of a recurrent layer, whose fans are input size and hidden size."""
    recipe = f"{kind.removesuffix('Cell').lower()}_"
    forget = " and its forget gate starts open" if recipe == "lstm_" else ""
    reason = f"Orthogonal recurrent weights keep the state's length over time{forget}."
    return Initialiser(recipe, {}, _xavier(fans), reason, RECURRENT)


def fans_of(layer: Layer) -> Fans:
    """Return the fans of a layer."""
    return Fans(layer.forward_terms or float(layer.fan_in), layer.backward_terms or float(layer.fan_out))


def place_of(layer: Layer, output: Layer | None) -> Place:
    """Return where a layer stands, as far as the layer itself shows it (residual branches and transformers are not seen)."""
    if layer.kind in _EMBEDDINGS:
        return Place.EMBEDDING
    if layer.role is Role.NORMALISATION:
        return Place.NORMALISATION
    if layer.kind in GATES:
        return Place.RECURRENT
    return Place.OUTPUT if output is not None and layer.module == output.module else Place.HIDDEN


def output_of(layers: Iterable[Layer]) -> Layer | None:
    """Return the weight layer that ran last: what it gives is the answer."""
    weights = [layer for layer in layers if layer.role is Role.WEIGHT]
    return max(weights, key=lambda layer: layer.depth, default=None)


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

    A wide one with Xavier's variance starts far from every answer and has that to unlearn. A narrow one (a classifier) does
    not, and with small weights little of the gradient reaches the layers before it: in a stack of 30 tanh layers 200 steps
    of Adam ended at a loss of 1.05 instead of 0.13.
    """
    follows = activation_called(layer.activation)
    answers = layer.activation is None or (follows is not None and follows.name in _UNDECIDED)
    small = answers and fans.backward >= fans.forward
    # Where Xavier makes it smaller still, that is small enough.
    if layer.kind == "Linear" and small and not _xavier(fans) <= OUTPUT_STD**2:
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
        # Without a bias to take the mean out, weights as large as this let what does not saturate grow without bound.
        if centred or before.shape is Shape.BOUNDED:
            return _behind(before, 1.0 if gains is None else gains.forward, fans, centred=centred)
    if follows is not None and follows.name == "SELU":
        reason = "SELU keeps mean 0 and variance 1 with 1/fan_in."
        return Initialiser("lecun_normal_", {}, _over(1.0, fans), reason, SELF_NORMALISING)
    if follows is None or gains is None or gains.forward == 1:
        if layer.activation is None:
            reason = f"No activation follows{behind}: it is to keep the variance, forward and backward."
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

    Of what comes out of it only the variance says something about the input: the weights keep that, and the bias takes out
    the mean, which would otherwise grow until every sample looks the same. Glorot & Bengio (2010, Section 2) start sigmoids
    with four times the weights, by their slope at 0; for an input of variance 1 it is 4.8 times.
    """
    factor = math.sqrt(gain / before.moments.variance)
    mean = before.moments.mean
    reason = (
        f"Its input comes out of {before.name}, which leaves {before.moments.variance:.2g} of the variance and adds"
        f" {mean:.2g}: larger weights make up for the one{', the bias takes the other out' if centred else ''}."
    )
    options = {"gain": factor, "input_mean": mean} if centred else {"gain": factor}
    return Initialiser("xavier_normal_", options, factor**2 * _xavier(fans), reason, GLOROT_OFFSET)


def _sums_rows(layer: Layer) -> bool:
    """Say whether each output of a layer is a sum over one row of its weight, and has a bias to take a constant out."""
    return bool(layer.bias) and layer.kind in {"Linear", "Conv1d", "Conv2d", "Conv3d"}


def _xavier(fans: Fans) -> float:
    return 2.0 / (fans.forward + fans.backward) if fans.forward and fans.backward else math.nan


def _over(gain: float, fans: Fans) -> float:
    return gain / fans.forward if fans.forward else math.nan
