"""IM701: the network's input is far from standardised."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from init_monitor.analysis.bounded import bounds_of, is_distribution
from init_monitor.analysis.optimizers import epsilon_of
from init_monitor.analysis.pace import growth_of, judged_weights, pace_of
from init_monitor.records import INPUT, Figure, Finding, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import made_by_training, phrases, snippets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.records import History, Layer, StepRecord, Structure

CENTRING = ("BatchNorm", "InstanceNorm")
"""Parts of class names of normalisations that take out each unit's mean over the batch or the positions; others remove
a scale but let an offset stay."""


class Kind(Enum):
    """What is wrong with an input."""

    LARGE = "too large"
    SMALL = "too small"
    UNCENTRED = "far from centred"


class _Entry(NamedTuple):
    """A weight layer that takes the network's input: what it receives, and what is wrong with it.

    Attributes:
        layer: the first of its calls that takes the input.
        mean, std, peak: of what these calls get together.
        kind: what is wrong.
        severity: how bad.
        alone: none of its calls receives anything but the input.
    """

    layer: Layer
    mean: float
    std: float
    peak: float
    kind: Kind
    severity: Severity
    alone: bool

    @property
    def rms(self) -> float:
        return math.hypot(self.mean, self.std)


@dataclass(frozen=True)
class InputScale:
    """IM701: the data that the first layers receive is far too large, too small, or far from centred.

    Critical where no usual learning rate works, or where it drives the activation after it so far that hardly any gradient
    passes. Inputs in [0, 1], in [−1, 1], from 0 to 16, one-hot and sparse ones are healthy.
    If a normalisation follows directly, what it takes out is information: a BatchNorm everything, others the size but not the
    offset. Indices (of an embedding) have no scale.

    **Why.** The stable learning rate of SGD falls with the mean square of the input; one step of Adam moves an output of the
    first layer by rate · Σ|x|. A small input drowns in the biases, and with a large mean nearly everything that enters
    is the same for every sample.

    **Example.** Pixels of 0 to 255: mean 33, standard deviation 79.

    **Remedy.** Standardise with the training set's mean and standard deviation, or put a BatchNorm first. The finding's code
    does it with the numbers of this very input.

    Attributes:
        large: rms from which an input is too large. Digits of 0 … 16 (rms 8) and inputs of twice that train as standardised
            ones do; at 30 SGD with a rate of 0.1 no longer learns the digits (measured, MLP and CNN), and raw pixels of
            0 … 255 have 80 to 150.
        large_critical: rms at which no usual learning rate of SGD works: 0.01 and 0.1 gave NaN.
        large_critical_rescaled: the same for optimizers that rescale each gradient: Adam learned at 1e3, and at 1e5 its loss
            stayed above chance.
        small: rms below which SGD learned nothing in 300 steps at any rate up to 0.1; for Adam it is ten times lower.
        small_critical: rms at which Adam with its default rate learned nothing either.
        small_peak: largest element of an input that is small as a whole. One-hot and sparse inputs have a small rms and
            elements of 1: they are healthy.
        uncentred: |mean| over standard deviation: the constant then carries 96 % of what enters, E[x]²/E[x²]. Images in
            [0, 1] have up to 3; digits shifted by 5 standard deviations had twice to five times the loss under Adam, and SGD
            at 0.1 learned nothing (measured, MLP and CNN).
        suspect: the same as ``large`` where plain gradient descent takes steps that are too large by it: inputs of that size are the
            largest that were seen to train as standardised ones do. It is then as severe as these steps.
        too_large: ‖Δw‖/‖w‖ of such a step, in the median layer (as in IM603); ``records`` of the ``latest`` sampled steps must show it,
            or weights that have become ten times as large, which is critical.
        latest: sampled steps that are looked at for that.
        records: sampled steps that must agree, if there are that many: the scale is that of the data, not of one batch.
    """

    code: ClassVar[str] = "IM701"
    name: ClassVar[str] = "input-scale"
    source: ClassVar[str] = (
        "LeCun, Bottou, Orr & Müller 1998, 'Efficient BackProp', 4.3: inputs of mean 0 and variance 1"
    )

    large: float = 30.0
    large_critical: float = 1e3
    large_critical_rescaled: float = 1e5
    small: float = 0.03
    small_critical: float = 1e-3
    small_peak: float = 0.2
    uncentred: float = 5.0
    records: int = 3
    suspect: float = 16.0
    too_large: float = 0.3
    latest: int = 10

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding per severity."""
        entries: dict[str, _Entry] = {}
        for layer in history.structure.layers:
            if layer.role is Role.WEIGHT and layer.inputs == (INPUT,) and layer.module not in entries:
                # A module that is called several times is judged on all calls, since a remedy at its input changes all of them.
                # A recurrent network by hand gets the input with its own state, but for the first call, whose state is a constant.
                calls = [one for one in history.structure.calls_of(layer) if INPUT in one.inputs]
                if self._entry(calls, history.last, history.structure) is None:
                    continue
                recent = [self._entry(calls, record, history.structure) for record in history.records[-self.records :]]
                entry = self._agreed(recent, history)
                if entry is not None:
                    entries[layer.module] = entry
        for severity in (Severity.CRITICAL, Severity.WARNING, Severity.INFO):
            found = [entry for entry in entries.values() if entry.severity is severity]
            if found:
                yield _finding(found, severity, history)

    def _agreed(self, recent: Sequence[_Entry | None], history: History) -> _Entry | None:
        """Return what the latest records agree on, as severe as what comes of it."""
        entry = recent[-1]
        seen = [one for one in recent if one is not None]
        if entry is None or len(seen) < len(recent) or any(one.kind is not entry.kind for one in seen):
            return None
        if entry.kind is not Kind.LARGE:
            return entry
        steps = self._steps(history)
        if steps is None and min(one.rms for one in seen) < self.large:
            return None
        worse = steps is Severity.CRITICAL and entry.severity > Severity.INFO
        return entry._replace(severity=Severity.CRITICAL) if worse else entry

    def _steps(self, history: History) -> Severity | None:
        """Return how bad the steps are that a gradient, which is as large as the input, makes too large; ``None`` if they are not."""
        last = history.last
        if not last.optimizer or epsilon_of(last.optimizer) is not None:
            return None
        if growth_of(history)[0] >= made_by_training.OVERTURNED:
            return Severity.CRITICAL
        judged = judged_weights(history)
        paces = [pace_of(record, judged, history.structure) for record in history.records[-self.latest :]]
        over = sum(pace is not None and pace.low > self.too_large for pace in paces)
        return Severity.WARNING if over >= self.records else None

    def _entry(self, calls: Sequence[Layer], record: StepRecord, structure: Structure) -> _Entry | None:
        layer = calls[0]
        rows = [record.names.index(one.name) for one in calls if one.name in record.names]
        if not rows:
            return None
        mean, variance, peak = _pooled(record, rows)
        # The same number everywhere has no scale; what was not measured (indices) has none either.
        if not variance > 0 or not math.isfinite(mean):
            return None
        std = math.sqrt(variance)
        rms = math.hypot(mean, std)
        kind = None
        if abs(mean) >= self.uncentred * std:
            kind = Kind.UNCENTRED
        elif rms >= self.suspect:
            kind = Kind.LARGE
        elif rms <= self.small and peak <= self.small_peak:
            kind = Kind.SMALL
        if kind is None:
            return None
        alone = all(one.inputs == (INPUT,) for one in structure.calls_of(layer))
        return _Entry(layer, mean, std, peak, kind, self._severity(layer, rms, kind, record, structure), alone)

    def _severity(self, layer: Layer, rms: float, kind: Kind, record: StepRecord, structure: Structure) -> Severity:
        follows = [x.kind for x in structure.layers if x.role is Role.NORMALISATION and layer.name in x.inputs]
        centred = bool(follows) and all(any(part in name for part in CENTRING) for name in follows)
        if centred or (layer.normalised and kind is Kind.LARGE):
            return Severity.INFO
        if layer.normalised:
            return Severity.WARNING
        rescaled = epsilon_of(record.optimizer) is not None
        known = bool(record.optimizer)
        # Without an optimizer (a check before training) only what no optimizer could handle is critical.
        limit = self.large_critical if known and not rescaled else self.large_critical_rescaled
        hopeless = rms >= limit or (kind is Kind.SMALL and rms <= self.small_critical)
        lost = kind is not Kind.SMALL and any(
            layer.name in one.inputs
            and record.layer_table.at(one.name, Quantity.SATURATED_FRACTION) >= bounds_of(one).critical
            for one in structure.layers
            if one.role is Role.ACTIVATION and not is_distribution(one)
        )
        return Severity.CRITICAL if hopeless or lost else Severity.WARNING


def _pooled(record: StepRecord, rows: Sequence[int]) -> tuple[float, float, float]:
    """Return mean, variance and largest element of what several calls of one module received together."""
    means, variances, peaks, made = (
        record.column(quantity)[list(rows)]
        for quantity in (Quantity.INPUT_MEAN, Quantity.INPUT_VARIANCE, Quantity.INPUT_ABS_MAX, Quantity.COUNT)
    )
    # Each call makes equally many numbers from each one that it receives.
    shares = made / made.sum() if len(rows) > 1 and made.sum() > 0 else np.full(len(rows), 1 / len(rows))
    mean = float(shares @ means)
    return mean, float(shares @ (variances + (means - mean) ** 2)), float(peaks.max())


def _finding(found: Sequence[_Entry], severity: Severity, history: History) -> Finding:
    worst = max(found, key=lambda entry: abs(math.log(entry.rms)))
    measured = {
        "input_mean": Figure(worst.mean),
        "input_std": Figure(worst.std),
        "input_abs_max": Figure(worst.peak),
    }
    # What is off comes first: the console shows one number.
    by_mean = abs(worst.mean) > worst.std
    order = ("input_mean", "input_std", "input_abs_max") if by_mean else ("input_std", "input_mean", "input_abs_max")
    return Finding(
        rule=InputScale.name,
        code=InputScale.code,
        severity=severity,
        layers=tuple(entry.layer.name for entry in found),
        step=history.last.step,
        message=_message(worst, severity, history.last),
        evidence={name: measured[name] for name in order},
        expected={name: Figure(1.0 if name == "input_std" else 0.0) for name in order[:2]},
        remedy=_remedy(found, severity),
        source=InputScale.source,
    )


def _message(entry: _Entry, severity: Severity, record: StepRecord) -> str:
    mean, std = phrases.number(entry.mean), phrases.number(entry.std)
    text = (
        f"The input of {entry.layer.name} is {entry.kind.value}: mean {mean}, standard deviation {std}, largest"
        f" {phrases.number(entry.peak)}, where about 0 and 1 are usual."
    )
    if severity is Severity.INFO:
        return f"{text} The normalisation behind {entry.layer.name} removes that again."
    if entry.kind is Kind.UNCENTRED:
        share = entry.mean**2 / (entry.mean**2 + entry.std**2)
        return f"{text} The mean makes up {phrases.percent(share)} of what enters, and only the rest can tell samples apart."
    if entry.kind is Kind.SMALL:
        return f"{text} The biases drown it, and the gradient of these weights is as small as it is."
    step = _step_taken(entry, record)
    return f"{text} {step}"


def _step_taken(entry: _Entry, record: StepRecord) -> str:
    """Return what one update of these weights does to their output, where it can be told."""
    fan_in, rate = entry.layer.fan_in, record.learning_rate
    if epsilon_of(record.optimizer) is not None and record.optimizer and fan_in and math.isfinite(rate):
        reach = rate * fan_in * entry.rms
        return (
            f"One step of {record.optimizer} at a rate of {phrases.number(rate)} can move each output of that layer by"
            f" rate · fan_in · |x| = {phrases.number(reach)}."
        )
    return (
        f"The largest learning rate at which SGD is stable falls with the mean square of the input:"
        f" {phrases.number(entry.rms**2)} times here."
    )


def _remedy(found: Sequence[_Entry], severity: Severity) -> str:
    if severity is Severity.INFO:
        return "Nothing has to change while the normalisation stays; standardised inputs do without it."
    sentence = (
        "Standardise the data where it is loaded, with the mean and standard deviation of the training set (per channel or"
        " feature where they differ), or let a BatchNorm see it first. With the numbers of this very input:"
    )
    lines = [f"# the same in the data: x = {snippets.standardised('x', found[0].mean, found[0].std)}"]
    # A hook would also change what the other calls of the layer get, which is not the input.
    lines += [snippets.standardise(entry.layer, entry.mean, entry.std) for entry in found if entry.alone]
    return snippets.advice(sentence, "\n".join(lines))
