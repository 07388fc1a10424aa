"""IM503: layers whose output cannot depend on their input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from init_monitor.analysis.cancelled import cancelled
from init_monitor.analysis.degenerate import (
    Cause,
    Degenerate,
    ends_the_network,
    is_the_only_way,
    lasting,
    over_two_values,
)
from init_monitor.analysis.gradient_flow import parameters_of
from init_monitor.analysis.learning import Learning, learning_of, learns_well
from init_monitor.analysis.lost_samples import ends_of
from init_monitor.records import Figure, Finding, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.records import History, Layer, Structure

STRUCTURAL = frozenset({Cause.ONE_VALUE, Cause.DROPS_ALL})
"""Causes that the layer itself shows, so that one record is enough; the others are seen in the values."""


@dataclass(frozen=True)
class DegenerateLayer:
    """IM503: a layer gives one and the same output for every input, because of how it was built.

    A softmax over a dimension of one element (its output is 1), a normalisation of groups of a single value (its output is its
    bias) or a batch norm over two values per channel (they become 1 and -1), a dropout of 1, a bounded activation or a clamp that is off for everything, a rectifier that ends the network and is
    off; a mean over the very elements that a normalisation centred. Rectifiers inside a network are IM301's, and where no parameter at all gets a gradient IM604 says so. Critical where
    nothing of the input arrives at the end of the network, or where most parameters get no gradient because of it. Attention over
    a single position hands on what it weighs; where no weight is left without a gradient by that, it is information.

    **Why.** Nothing passes such a layer, forward or backward: what lies before it keeps its random weights. Nothing crashes, and the
    loss still falls to what the layers behind it can do without the input.

    **Example.** ``softmax(scores, dim=-1)`` on scores of shape [N, T, 1]; ``GroupNorm(64, 64)`` behind a global pooling;
    ``Dropout(1.0)``, mistaken for the share to keep.

    **Remedy.** The intended dimension, more than one value per group, a dropout below 1; remove an activation that is off
    from the output.

    Attributes:
        records: sampled steps in a row that must show it where only the values tell (a batch may hold sequences of length 1).
        most: share of the trainable elements that get no gradient before such a layer, from which it is critical.
        gone: share of the variance that lies between samples, in the last layer with weights, at which nothing of the input
            arrives: the samples differ by a thousandth of what they share; rounding alone leaves 1e-7.
    """

    code: ClassVar[str] = "IM503"
    name: ClassVar[str] = "degenerate-layer"
    source: ClassVar[str] = (
        "PyTorch issue 19250, 'InstanceNorm, GroupNorm doesn't crash with # of elements == 1'; by arithmetic"
    )

    records: int = 3
    most: float = 0.5
    gone: float = 1e-6

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding per cause."""
        if history.last.optimizer and _nothing_learns(history):
            return  # if everything stands still, IM604 says so, and why
        # A network checked once, before it trains, is judged by that.
        needed = self.records if history.last.optimizer else 1
        recent = history.records[-needed:]
        found = [
            one for one in lasting(recent, history.structure) if self._counts(one, history, seen=len(recent) == needed)
        ]
        if history.last.optimizer and len(history.records) >= needed:
            found += over_two_values(history)  # a check may be given fewer samples than the training
        if not learns_well(history):
            yield from self._cancelled(history)
        for cause in Cause:
            if same := [one.layer for one in found if one.cause is cause]:
                yield self._finding(cause, same, history)

    def _counts(self, one: Degenerate, history: History, *, seen: bool) -> bool:
        if one.cause in STRUCTURAL:
            return True
        ends = ends_the_network(one.layer, history.structure)
        # Inside a network IM301 knows which units are dead, and from how many samples.
        return seen and not (one.cause is Cause.OFF and one.layer.flat_below and not ends)

    def _finding(self, cause: Cause, layers: Sequence[Layer], history: History) -> Finding:
        first, structure = layers[0], history.structure
        ends = ends_the_network(first, structure)
        idle = _without_gradient_before(first, history)
        critical = idle >= self.most or self._nothing_arrives(first, history)
        evidence = {"variance": Figure(history.last.layer_table.at(first.name, Quantity.VARIANCE))}
        if idle > 0:
            evidence["elements"] = Figure(idle, "of the trainable elements, before it, without a gradient")
        title = (
            f"{first.name} ({first.kind})" if first.shown == first.name else first.shown[0].upper() + first.shown[1:]
        )
        message = f"{title} {_said(cause, history.last.layer_table.at(first.name, Quantity.MEAN))}"
        if idle > 0:
            message += f" {phrases.percent(idle)} of the trainable elements lie before it and get no gradient."
        passes = cause is Cause.TWO_VALUES and self._harmless(layers, history)
        passes |= cause is Cause.ONE_PLACE and not ends and idle == 0 and not first.direct
        if passes and cause is Cause.ONE_PLACE:
            message += (
                " What it weighs passes all the same, and every weight before it gets a gradient: nothing is lost."
            )
        if len(layers) > 1:
            message += f" So do {phrases.names([layer.name for layer in layers[1:]])}."
        return Finding(
            rule=self.name,
            code=self.code,
            severity=Severity.INFO
            if passes
            else Severity.CRITICAL
            if critical and cause is not Cause.TWO_VALUES
            else Severity.WARNING,
            layers=_places(layers, structure),
            step=history.last.step,
            message=message,
            evidence={name: figure for name, figure in evidence.items() if math.isfinite(figure)},
            expected={"variance": Figure(1.0, "about")} if cause is Cause.ONE_VALUE else {},
            remedy=_ONE_POSITION if passes and cause is Cause.ONE_PLACE else _remedy(cause, first, ends=ends),
            source=self.source,
        )

    def _cancelled(self, history: History) -> Iterator[Finding]:
        """Yield a finding about each mean that undoes a normalisation, critical where nothing else leads to the end."""
        ends = {layer.name for layer in ends_of(history.structure)}
        for one in cancelled(history):
            yield Finding(
                rule=self.name,
                code=self.code,
                severity=Severity.CRITICAL if ends == {one.reader.name} else Severity.WARNING,
                layers=(one.norm.name, one.reader.name),
                step=history.last.step,
                message=(
                    f"{one.norm.name} ({one.norm.kind}) makes the mean of its elements 0, and {one.reader.name} receives just that"
                    " mean (a pooling over the dimensions that were normalised): at step 0 it is 0 for every input, but for rounding."
                ),
                evidence={"left": Figure(one.left, "of the mean square, after the mean")},
                expected={"left": Figure(1e-2, "or more")},
                remedy=_OTHER_AXIS,
                source=self.source,
            )

    def _harmless(self, layers: Sequence[Layer], history: History) -> bool:
        """Say whether the run learns all the same, or what such norms take away goes past them."""
        past = not any(is_the_only_way(layer, history.structure) for layer in layers)
        return past or learning_of(history) is Learning.LEARNS

    def _nothing_arrives(self, layer: Layer, history: History) -> bool:
        """Say whether the samples look the same to the last layer with weights behind ``layer``."""
        behind = [x for x in history.structure.layers[layer.depth + 1 :] if x.role is Role.WEIGHT]
        share = history.last.layer_table.at(behind[-1].name, Quantity.BETWEEN_SAMPLE_SHARE) if behind else math.nan
        return share <= self.gone


def _places(layers: Sequence[Layer], structure: Structure) -> tuple[str, ...]:
    """Return the names of the layers; before a function, which has no name in the program, that of the layer whose output it takes."""
    known = structure.by_name()
    fed = {
        layer.name: layer.inputs
        for layer in layers
        if "/" in layer.name and layer.direct and len(layer.inputs) == 1 and layer.inputs[0] in known
    }
    return tuple(dict.fromkeys(name for layer in layers for name in (*fed.get(layer.name, ()), layer.name)))


def _nothing_learns(history: History) -> bool:
    table = history.last.parameter_table
    norms = table.column(Quantity.WEIGHT_GRADIENT_NORM)[table.column(Quantity.TRAINABLE) != 0]
    return bool((norms == 0).any()) and not (norms > 0).any()


def _without_gradient_before(layer: Layer, history: History) -> float:
    """Return the share of the trainable elements that lie before a layer and have a gradient of 0, or none."""
    table = history.last.parameter_table
    counts = table.by_name(Quantity.WEIGHT_COUNT)
    norms, trained = table.by_name(Quantity.WEIGHT_GRADIENT_NORM), table.by_name(Quantity.TRAINABLE)
    total = sum(count for name, count in counts.items() if trained[name] != 0 and count > 0)
    before = {name for one in history.structure.layers[: layer.depth] for name in parameters_of(one)}
    idle = sum(counts[n] for n in before if n in counts and trained[n] != 0 and not norms[n] > 0 and counts[n] > 0)
    return idle / total if total else 0.0


def _said(cause: Cause, value: float) -> str:
    if cause is Cause.ONE_PLACE:
        given = "0, the logarithm of 1," if abs(value) < 0.5 else "1"  # noqa: PLR2004 - half-way between the two
        return (
            "goes over a dimension of one element: whatever goes in, it gives"
            f" {given} everywhere, and no gradient passes it."
        )
    if cause is Cause.ONE_VALUE:
        return (
            "normalises groups of a single value: without its mean nothing is left, so the output is the layer's bias"
            " for every input, and no gradient passes."
        )
    if cause is Cause.TWO_VALUES:
        return (
            "has two values per channel to normalise (a batch of 2 with one position each): whatever they are, the larger becomes 1"
            " and the smaller -1, so that only their order passes, and next to no gradient."
        )
    if cause is Cause.DROPS_ALL:
        return "drops everything: p is the share that is dropped, not the share that is kept, and it is 1."
    return (
        f"is off for everything: it gives {phrases.number(value)} for all that it received, and no gradient passes it."
    )


def _remedy(cause: Cause, layer: Layer, *, ends: bool) -> str:
    if cause is Cause.ONE_VALUE and "Group" in layer.kind:
        return _GROUPS
    return (ends and _AT_THE_END.get(cause)) or _INSIDE[cause]


_OTHER_AXIS = (
    "Normalise over another dimension than the one that is averaged next: over the channels (a LayerNorm of [C] on channels-last"
    " tensors) where a pooling over the positions follows, or put the pooling first; or put an activation between the two."
)

_ONE_POSITION = (
    "Nothing has to change. With more than one position (a larger picture, a longer sequence) this attention chooses."
)

_GROUPS = (
    "Normalise where a group has more than one value: before the pooling that leaves one position, or with fewer groups"
    " (GroupNorm(num_groups=8, ...)); or remove the normalisation."
)

_AT_THE_END = {
    Cause.ONE_PLACE: (
        "Give the network one output per class, or remove the softmax and train its one output as a logit, with"
        " F.binary_cross_entropy_with_logits (a sigmoid gives the probability)."
    ),
    Cause.OFF: (
        "Remove this activation from the output, or scale the targets to its range: an output has to be able to reach"
        " every target, on both sides."
    ),
}

_INSIDE = {
    Cause.ONE_PLACE: (
        "Take the softmax over the dimension that holds the alternatives: for scores of shape [N, T, 1] that is dim=1, not"
        " dim=-1."
    ),
    Cause.ONE_VALUE: (
        "Remove this normalisation, or move it to where it has more than one value to normalise: before the layer that"
        " leaves a single feature."
    ),
    Cause.TWO_VALUES: (
        "Take a normalisation that does not look at the batch (LayerNorm, or GroupNorm before the pooling), or larger batches;"
        " accumulating gradients does not make them larger for a batch norm."
    ),
    Cause.DROPS_ALL: "Give the dropout the share to be dropped: Dropout(p=0.1) keeps 90 %.",
    Cause.OFF: (
        "Remove this activation, or widen its bounds to the values that it receives; scale or normalise what goes into"
        " it."
    ),
}
