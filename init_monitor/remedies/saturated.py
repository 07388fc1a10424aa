"""A saturated activation: the message of IM303, and its remedy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.analysis.between_layers import passage_to
from init_monitor.analysis.bounded import bounds_of
from init_monitor.analysis.recurrent import driven
from init_monitor.records import INPUT, Role
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import affected_layers, between_layers, made_by_training, phrases, snippets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.analysis.between_layers import Passage
    from init_monitor.analysis.bounded import Reading
    from init_monitor.analysis.recurrent import Driven
    from init_monitor.records import History, Layer, Severity


LARGE = 2.0
"""Factor, in rms, from which the input weights of a recurrent layer are too large: Xavier's give 1.4 at most, torch's own 0.6 to as
many inputs as units."""


class Saturated(NamedTuple):
    """One saturated activation.

    Attributes:
        layer: the activation.
        share: saturated elements (of a softmax: distributions).
        rms, passing: of its input, and the part of a gradient's mean square that gets through (NaN if unknown).
        severity: how bad.
        culprit: the weight layer (or normalisation) that feeds it, if known.
        distribution: it is a softmax.
        late: training made it.
    """

    layer: Layer
    share: float
    rms: float
    passing: float
    severity: Severity
    culprit: Layer | None
    distribution: bool = False
    late: bool = False

    @property
    def named(self) -> str:
        """What is at fault: the layer that makes it so, or the module (an attention) that calls the softmax."""
        if self.culprit is not None:
            return self.culprit.name
        own = self.layer.module if "/" in self.layer.name else self.layer.module.rpartition(".")[0]
        return own or self.layer.name if self.distribution else self.layer.name

    @property
    def is_attention(self) -> bool:
        """Whether it is a softmax that no layer feeds: that of an attention."""
        return self.distribution and self.culprit is None


def message(place: Saturated, gain: float, reading: Reading, history: History, others: Sequence[str]) -> str:
    """Return the message about the worst saturated activation.

    Args:
        place: the worst.
        gain: Var(out)/E[in²] of what feeds it; NaN if unknown.
        reading: the last record.
        history: what was judged.
        others: names of the other saturated activations.
    """
    layer, share = place.layer, phrases.percent(place.share)
    since = f"at step {history.last.step}" if place.late else "from the start"
    if place.distribution:
        text = (
            f"{share} of the distributions of {layer.name} are saturated {since}, with 99 % on one class: the gradient"
            f" through them is nearly 0, and {place.named} keeps its random choice."
        )
    else:
        text = f"{share} of the outputs of {layer.name} ({layer.kind}) are saturated {since}"
        lost = f": it lets {phrases.percent(place.passing)} of the gradient pass" if place.passing < 1 else ""
        text += f"{lost}."
    if place.late:
        text += " Training caused this: steps that were too large pushed its input far beyond the knee."
    elif (passage := passage_before(place, reading)) is not None and not math.isnan(place.rms):
        text += f" It receives an rms of {phrases.number(place.rms)}. {between_layers.told({0: passage})}"
    elif place.culprit is not None and not math.isnan(place.rms):
        knee = bounds_of(layer).knee
        bend = f", and the activation saturates from {phrases.number(knee)}" if math.isfinite(knee) else ""
        text += f" It receives an rms of {phrases.number(place.rms)} that {place.culprit.name} makes{bend}."
        arriving = reading.at(place.culprit.name, Quantity.INPUT_MEAN_SQUARE)
        if reading.passes_on(place.culprit):
            text += f" What {place.culprit.name} gets has an rms of {phrases.number(math.sqrt(arriving))} already, where 1 is usual."
        elif gain > 1:
            text += f" {place.culprit.name} multiplies what it gets by {phrases.number(gain)}, where 1 keeps it."
    return text + (f" So are {phrases.names(others)}." if others else "")


def behind_a_factor(activation: Layer, reading: Reading) -> Layer | None:
    """Return the layer that feeds an activation, where what it only passes on was made too large right before it, of several layers' outputs."""
    fed = reading.known.get(reading.fed(activation))
    if fed is None or fed.role is not Role.WEIGHT or len(fed.inputs) == 1 or not reading.passes_on(fed):
        return None
    passage = passage_to(fed, reading.record)
    return fed if passage is not None and passage.factor > 1 else None


def passage_before(place: Saturated, reading: Reading) -> Passage | None:
    """Return the factor in front of the layer at fault; ``None`` if there is none."""
    behind = behind_a_factor(place.layer, reading)
    return None if behind is None else passage_to(behind, reading.record)


def remedy(found: Sequence[Saturated], worst: Saturated, reading: Reading, history: History) -> str:
    """Return what to do about the saturated activations, in words and code.

    Args:
        found: all of them, in execution order.
        worst: the worst.
        reading: the last record.
        history: what was judged.
    """
    if worst.late:
        return made_by_training.remedy(history, direction=1)
    culprits = list({p.culprit.name: p.culprit for p in found if p.culprit is not None}.values())
    norms = [layer for layer in culprits if layer.role is Role.NORMALISATION]
    weights = [layer for layer in culprits if layer.role is Role.WEIGHT]
    if not culprits:
        if worst.is_attention:
            return (
                "Divide the logits by the square root of the dimension they sum over before the softmax:"
                " scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])."
            )
        return "Scale what this activation receives down to an rms of 1, or normalise before it."
    if (passage := passage_before(worst, reading)) is not None:
        return between_layers.remedy({0: passage})
    by_data = {x.name for x in weights if INPUT in x.inputs and reading.passes_on(x)}
    std = {name: math.sqrt(max(0.0, reading.at(name, Quantity.INPUT_VARIANCE))) for name in by_data}
    inputs = [x for x in weights if std.get(x.name, 0.0) > 0]
    again = [x for x in weights if x not in inputs]
    again = affected_layers.off_too(again, history, direction=1) if again else again
    sentences = []
    if inputs:
        sentences.append("Standardise the input, with the mean and standard deviation of the training set.")
    if again or norms:
        sentences.append(
            "Initialise the layers before these activations (and what else is too large) for the activation that follows."
        )
    code = snippets.together(
        snippets.initialise(again, among=history.structure),
        snippets.initialise(norms, among=history.structure),
        *(snippets.standardise(x, reading.at(x.name, Quantity.INPUT_MEAN), std[x.name]) for x in inputs),
    )
    return snippets.advice(" ".join(sentences), code)


def remedy_of_driven(found: Driven, history: History) -> str:
    """Return what to do about a recurrent layer that its input drives beyond its knees: mend the weights, or scale the input."""
    name = found.layer.module
    if found.rms >= LARGE * found.received:
        return snippets.advice(
            f"Initialise the weights of {name}, before training: what it receives is multiplied by"
            f" {phrases.number(found.rms / found.received)} in rms, where Xavier's weights keep it near 1.",
            snippets.initialise(
                [one.layer for one in driven(history.records[0], history.structure) if one.rms >= LARGE * one.received],
                among=history.structure,
            ),
        )
    return (
        f"Scale what {name} receives to an rms of about 1: leave out the factor in front of it, give an embedding a"
        " smaller start, or put a LayerNorm between them."
    )
