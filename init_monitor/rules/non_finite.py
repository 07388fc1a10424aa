"""IM601: where NaN or infinity appears first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from init_monitor.records import Figure, Finding, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import not_finite, phrases, snippets, turned_loss

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.records import Column, History, Layer, StepRecord


class _Origin(NamedTuple):
    """Where it appeared: a sentence up to "not finite", names for its braces, how many elements, cause and remedy."""

    lead: str
    layers: tuple[str, ...]
    severity: Severity
    elements: float
    cause: str
    sentence: str
    code: str = ""


@dataclass(frozen=True)
class NonFinite:
    """IM601: the first layer with NaN or ±Inf, in the order in which values are computed: forward, backward, weights.

    Forward and in weights it is critical; in gradients under a loss scale it is information, because the scaler skips that step.
    So is a gradient between layers of which no parameter shows anything when the optimizer steps: a program that scales its loss
    by hand leaves such a batch out.

    Non-finite values without consequence (logits that the network masks with -inf; the loss and every gradient are finite) are
    information as well.

    **Why.** Everything after the first place follows from it, so the first place is the one to look at.

    **Example.** float16 activations beyond 65,504; the logarithm of a probability that became 0.

    **Remedy.** By the likely cause, which the finding names: a format with more range, a guard for the operation, a clipped
    gradient, or back to a checkpoint from before.

    Attributes:
        scaler_halvings: sampled steps in a row with non-finite gradients after which a gradient scaler has halved its first
            scale of 2^16 away: skipping did not help.
        near_overflow: a finite element within this factor of the format's largest number has neighbours that overflow: with
            a Gaussian tail the largest of a million elements is five standard deviations out, and a product with one more
            weight does the rest.
    """

    code: ClassVar[str] = "IM601"
    name: ClassVar[str] = "non-finite"
    spreads: ClassVar[bool] = False
    source: ClassVar[str] = (
        "IEEE 754-2019, 6 and 7: overflow gives infinity; 0/0, inf - inf and roots of negatives give NaN"
    )

    scaler_halvings: int = 17
    near_overflow: float = 16.0

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding: everything after the first place follows from it."""
        place = (
            _forward(history, self.near_overflow)
            or self._backward(history)
            or _parameters(history)
            or self._weight_gradients(history)
        )
        if place is None:
            return
        yield Finding(
            rule=self.name,
            code=self.code,
            severity=place.severity,
            layers=place.layers,
            step=history.last.step,
            message=(
                f"{place.lead.format(phrases.names(place.layers))} not finite:"
                f" {phrases.count(place.elements, 'element')} NaN or infinite. {place.cause}"
            ),
            evidence={"nonfinite_count": Figure(place.elements, "elements")},
            expected={"nonfinite_count": Figure(0.0, "elements")},
            remedy=snippets.advice(place.sentence, place.code),
            source=self.source,
        )

    def _gradient_severity(self, history: History, quantity: Quantity) -> tuple[Severity, str]:
        if not history.last.loss_scaled:
            return Severity.CRITICAL, ""
        recent = history.records[-self.scaler_halvings :]
        lasting = len(recent) == self.scaler_halvings and all(_positive(r.column(quantity)).any() for r in recent)
        if lasting:
            return (
                Severity.WARNING,
                f" It did so at {len(recent)} sampled steps in a row: a smaller loss scale does not help.",
            )
        return Severity.INFO, " The gradient scaler skips this step and halves its scale, as it is meant to."

    def _backward(self, history: History) -> _Origin | None:
        record = history.last
        bad = np.flatnonzero(_positive(record.column(Quantity.GRADIENT_NONFINITE_COUNT)))
        if not bad.size:
            return None
        i = int(bad[-1])
        severity, excuse = self._gradient_severity(history, Quantity.GRADIENT_NONFINITE_COUNT)
        if severity is Severity.CRITICAL and _is_left_out(record):
            severity = Severity.INFO
            excuse = " What the optimizer got is finite in every parameter: the program left that batch out, or put numbers in their place."
        elements = float(record.column(Quantity.GRADIENT_NONFINITE_COUNT)[i])
        layer = history.structure.by_name().get(record.names[i])
        remedy = "Let autograd name the operation, in one short run; then clip the gradient or guard that operation."
        if i == len(record.names) - 1 and len(record.losses) and not math.isfinite(record.loss):
            cause, remedy, _ = not_finite.of_loss(record)
        elif i == len(record.names) - 1:
            cause = "It is the last watched layer: the loss itself, or its derivative, is not finite."
        elif not_finite.near_overflow(record.column(Quantity.GRADIENT_ABS_MAX)[i:], layer, self.near_overflow):
            cause = "The gradients next to it are almost as large as the format allows: it overflowed."
        else:
            cause = "The gradient that reached the layers after it was finite: a derivative between them is not defined there."
        sentence = (
            "Nothing has to change unless it lasts; then try bfloat16 (precision='bf16-mixed'), which needs no loss scale."
            if severity is Severity.INFO
            else remedy
        )
        code = "" if severity is Severity.INFO else not_finite.ANOMALY
        return _Origin(
            "Backward, the gradient of {} is the first that is",
            (record.names[i],),
            severity,
            elements,
            cause + excuse,
            sentence,
            code,
        )

    def _weight_gradients(self, history: History) -> _Origin | None:
        record = history.last
        column = record.column(Quantity.WEIGHT_GRADIENT_NONFINITE_COUNT)
        bad = np.flatnonzero(_positive(column))
        if not bad.size:
            return None
        severity, excuse = self._gradient_severity(history, Quantity.WEIGHT_GRADIENT_NONFINITE_COUNT)
        names = tuple(record.parameter_names[i] for i in bad)
        cause, sentence, code = not_finite.of_weight_gradients(names, history)
        return _Origin(
            "Backward, the weight gradient of {} is",
            names,
            severity,
            float(column[bad].sum()),
            cause + excuse,
            sentence,
            code,
        )


def _is_left_out(record: StepRecord) -> bool:
    """Say whether the gradient of every trainable parameter was finite when the optimizer stepped, and what it made of the weights."""
    broken = record.column(Quantity.WEIGHT_GRADIENT_NONFINITE_COUNT)
    norms = record.column(Quantity.WEIGHT_GRADIENT_NORM)
    weights = record.column(Quantity.WEIGHT_NONFINITE_COUNT)
    trained = record.column(Quantity.TRAINABLE) != 0
    known = bool((norms[trained] > 0).any() and np.isfinite(norms[trained]).all())
    return known and not _positive(broken).any() and not _positive(weights).any()


def _positive(column: Column) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.nan_to_num(column, nan=0.0) > 0


def _forward(history: History, near: float) -> _Origin | None:
    record, structure = history.last, history.structure
    count = record.column(Quantity.NONFINITE_COUNT)
    bad = np.flatnonzero(_positive(count))
    if not bad.size:
        return None
    i = int(bad[0])
    name = record.names[i]
    layer = structure.by_name().get(name)
    if layer is not None and _on_purpose(i, record, layer):
        cause = "The loss and every gradient are finite, as when a mask puts -inf before a softmax, or non-finite values are left out."
        return _Origin(
            "Forward, the output of {} is the first that is",
            (name,),
            Severity.INFO,
            float(count[i]),
            cause,
            "It does no harm as long as the loss stays finite.",
        )
    cause, sentence, code = not_finite.cause_of(i, history, layer, near)
    return _Origin(
        "Forward, the output of {} is the first that is",
        (name,),
        Severity.CRITICAL,
        float(count[i]),
        cause,
        sentence,
        code,
    )


def _on_purpose(i: int, record: StepRecord, layer: Layer) -> bool:
    """Say whether non-finite values have no consequence: a non-finite loss or gradient decides.

    Logits that the network itself masked with -inf stay -inf in a log_softmax. The output of a weight layer is not a mask.
    """
    broken = _positive(record.column(Quantity.GRADIENT_NONFINITE_COUNT)).any()
    broken |= _positive(record.column(Quantity.WEIGHT_GRADIENT_NONFINITE_COUNT)).any()
    if layer.role in {Role.WEIGHT, Role.NORMALISATION} or broken:
        return False
    if not len(record.losses):
        # If the loss is unknown, a finite gradient at the layer says as much, or that nothing after it is affected.
        alone = np.count_nonzero(_positive(record.column(Quantity.NONFINITE_COUNT))) == 1
        return bool(record.column(Quantity.GRADIENT_COUNT)[i] > 0) or (alone and i < len(record.names) - 1)
    return math.isfinite(record.loss)


def _parameters(history: History) -> _Origin | None:
    record, structure = history.last, history.structure
    column = record.column(Quantity.WEIGHT_NONFINITE_COUNT)
    bad = np.flatnonzero(_positive(column))
    if not bad.size:
        return None
    names = tuple(record.parameter_names[i] for i in bad)
    owners = {p for layer in structure.layers for p in (layer.weight, layer.bias)}
    seen = "its layer gave finite numbers" if names[0] in owners else "its layer is not watched"
    cause = f"An optimizer step broke it, or it started like this ({seen} at this step)."
    sentence, code = "Go back to a checkpoint from before, lower the learning rate, clip the gradient.", ""
    if since := turned_loss.before(history):
        cause, (sentence, code) = f"{cause} {since.why}", since.remedy
    return _Origin("The parameter {} is", names, Severity.CRITICAL, float(column[bad].sum()), cause, sentence, code)
