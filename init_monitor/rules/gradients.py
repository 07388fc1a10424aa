"""IM201 and IM202: the gradient grows or fades exponentially on its way back to the input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from init_monitor.analysis.activations import activation_called
from init_monitor.analysis.forward_profile import Signal
from init_monitor.analysis.gains import gain_source, healthy_backward_gain
from init_monitor.analysis.optimizers import epsilon_of
from init_monitor.analysis.pace import HEALTHY_UPDATE
from init_monitor.analysis.segments import Segment, bounded_exp, by_level, log_of, segments, theil_sen
from init_monitor.records import Figure, Finding, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import affected_layers, made_by_training, phrases, snippets
from init_monitor.rules.propagation import (
    BLAME_FACTOR,
    CRITICAL_CHANGE,
    LEAST_LAYERS,
    WARNING_CHANGE,
    to_blame,
)
from init_monitor.rules.silent_branch import LEAST_RECORDS, LEAST_STEPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.records import Column, History, StepRecord, Structure

FADING_GRADIENT = 2e5
"""Variance factor towards the input from which a gradient that fades is a warning: AlexNet's, in the default initialisation
of PyTorch, fades to 1/76,000, and learns; that of 20 layers of Xavier in front of ReLUs to 1/430,000."""

EVEN = 10.0
"""Updates within this factor of those near the output count as rescaled, whatever the learning rate (warm-up)."""

NEAR_EPSILON = 10.0
"""At a gradient rms of ten epsilons an Adam step is 9 % short; at a tenth of one it is a tenth of what it should be."""

HOPELESS_UPDATE = 1e-6
"""‖Δw‖/‖w‖ of one step at which even a hundred thousand steps change nothing, while others learn."""

_END_LAYERS = 3
"""Either end of the profile is the median of so many levels, so that one odd layer (a head) does not decide."""

SUBNORMAL_HALF = 2.0**-24
"""Smallest positive float16 (IEEE 754-2019): smaller gradients become 0 unless the loss is scaled up."""


class _Back(NamedTuple):
    """One chain of weight layers, seen backward.

    Attributes:
        segment: the chain.
        growth: variance factor per layer towards the input.
        total: variance factor from the output end to the input end.
        affected: positions of the layers whose gradient is far from that at the output end.
        silent: True if the gradient of the affected layers is exactly 0.
        branched: True if the network has residual additions.
        steady: True if it comes about layer by layer; False if at one place (a layer scale of 1e-5 on one branch).
    """

    segment: Segment
    growth: float
    total: float
    affected: tuple[int, ...]
    silent: bool = False
    steady: bool = True
    branched: bool = False


class _Updates(NamedTuple):
    """What the affected weights receive: medians; NaN where not measured."""

    ratio: float
    elsewhere: float
    rms: float
    even: bool
    learns: bool


@dataclass(frozen=True)
class _GradientsOverDepth:
    """Judges the variance of ∂loss/∂output of the weight layers over depth, from the output to the input.

    A normalisation does not renew a gradient, so the whole network is one chain. How bad it is depends on what the
    optimizer makes of it: measured updates decide where there are any.

    Attributes:
        warning_change: variance factor over the chain (or one over it) from which something is said.
        critical_change: the same for critical, where no update says otherwise.
        blame_factor: how far off a layer's local backward gain may be.
        least_layers: shorter chains are not judged.
        healthy_update: range of ‖Δw‖/‖w‖ of one step in which a weight learns.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    direction: ClassVar[int]

    warning_change: float = WARNING_CHANGE
    critical_change: float = CRITICAL_CHANGE
    blame_factor: float = BLAME_FACTOR
    least_layers: int = LEAST_LAYERS
    healthy_update: tuple[float, float] = HEALTHY_UPDATE

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding."""
        signal = Signal(history.last, history.structure)
        chains = segments(history.structure, through_normalisation=True)
        seen = [back for s in chains if s.depth >= self.least_layers and (back := self._look(signal, s, history))]
        if seen:
            worst = max(seen, key=lambda back: abs(math.log(back.total)) if back.total > 0 else math.inf)
            yield self._finding(worst, signal, history)

    def _look(self, signal: Signal, segment: Segment, history: History) -> _Back | None:
        variance = signal.column(Quantity.GRADIENT_VARIANCE, segment)
        square = signal.column(Quantity.GRADIENT_MEAN_SQUARE, segment)
        # A gradient without variance may still be one: the same for every unit and sample.
        if (
            self.direction < 0
            and (silent := _silent(np.where(np.isnan(square), variance, square)))
            and _held_before(segment, silent, history)
        ):
            return _Back(segment, 0.0, 0.0, silent, silent=True)
        agreed = self._change(signal, segment)
        if agreed < math.log(self.warning_change):
            return None
        logs = signal.gradient_logs(segment)
        slope, _ = _over_depth(segment, logs)
        levels, profile = by_level(segment.levels, logs)
        off = self.direction * (logs - float(np.median(profile[-_END_LAYERS:])))
        affected = tuple(int(i) for i in np.flatnonzero(off >= math.log(self.warning_change)))
        top = tuple(int(i) for i in np.flatnonzero(np.asarray(segment.levels) == levels[0]))
        robust = self.direction * slope * (segment.depth - 1)
        steady = robust >= math.log(self.warning_change)
        total_back = bounded_exp(self.direction * agreed)
        return _Back(
            segment,
            bounded_exp(slope),
            total_back,
            affected or top,
            steady=steady,
            branched=bool(history.structure.residuals),
        )

    def _change(self, signal: Signal, segment: Segment) -> float:
        """Return by how much the log variance changes over the chain in this rule's direction.

        The energy of the gradient, not its variance, is what pooling, strides and widening layers keep; a change must
        show in both to be more than a change of shape.
        """
        logs = signal.gradient_logs(segment)
        energy = logs + log_of(signal.column(Quantity.GRADIENT_COUNT, segment))
        changes = [self.direction * _over_depth(segment, column)[1] for column in (logs, energy)]
        return min((change for change in changes if not math.isnan(change)), default=0.0)

    def _severity(self, back: _Back, updates: _Updates, record: StepRecord, *, underflow: bool) -> Severity:
        if back.silent or underflow:
            return Severity.CRITICAL
        change = self.direction * math.log(back.total)
        # What one place does has no depth to grow with: without updates to go by it is not the end of the training.
        by_norm = Severity.CRITICAL if back.steady and change >= math.log(self.critical_change) else Severity.WARNING
        if math.isnan(updates.ratio):
            # Beside skip connections the chain is not the only way back: without updates it is not known to be lost.
            return min(by_norm, Severity.WARNING) if back.branched else by_norm
        epsilon = epsilon_of(record.optimizer) if record.optimizer else None
        if epsilon is None:
            starved = (
                self.direction < 0 and updates.ratio < HOPELESS_UPDATE and updates.elsewhere >= self.healthy_update[0]
            )
            return Severity.CRITICAL if starved else Severity.INFO if updates.even else by_norm
        if self.direction < 0 and updates.rms < NEAR_EPSILON * epsilon:
            return Severity.CRITICAL if updates.rms * NEAR_EPSILON < epsilon else Severity.WARNING
        low, high = self.healthy_update
        if low <= updates.ratio <= high or 1 / EVEN <= updates.ratio / (updates.elsewhere or math.inf) <= EVEN:
            return Severity.INFO
        return Severity.WARNING

    def _lasts(self, history: History, segment: Segment) -> bool:
        """Say whether the last records show it too, over as many steps as a branch may take to wake."""
        records = history.records[-LEAST_RECORDS:]
        if len(records) < LEAST_RECORDS or records[-1].step - records[0].step < LEAST_STEPS:
            return False
        return all(
            self._change(Signal(r, history.structure), segment) >= math.log(self.warning_change) for r in records
        )

    def _finding(self, back: _Back, signal: Signal, history: History) -> Finding:
        record, segment = history.last, back.segment
        updates = _updates(record, back, self.healthy_update)
        rms = np.sqrt(signal.column(Quantity.GRADIENT_VARIANCE, segment))
        half = any(
            segment.layers[i].dtype == "float16" and rms[i] < SUBNORMAL_HALF and not record.loss_scaled
            for i in back.affected
        )
        severity = self._severity(back, updates, record, underflow=half and self.direction < 0)
        if back.branched and not back.steady and not back.silent and self.direction < 0 and severity > Severity.INFO:
            # Behind a scale that starts near zero (LayerScale) the gradient is faint until training has raised it.
            severity = severity if self._lasts(history, segment) else Severity.INFO
        measured, healthy = _backward_gains(signal, segment)
        off = self.direction * (log_of(measured) - log_of(healthy))
        blamed = () if back.silent else to_blame(off, self.blame_factor)
        worst = max(blamed, key=lambda i: float(off[i]), default=None)
        evidence = {
            "growth_per_layer": Figure(back.growth, "× per layer towards the input"),
            "total_growth": Figure(back.total, "×"),
        }
        expected = {"growth_per_layer": Figure(1.0, "× per layer towards the input"), "total_growth": Figure(1.0, "×")}
        if worst is not None:
            evidence["worst_gain"] = Figure(measured[worst], "Var(∂in)/E[(∂out)²]")
            expected["worst_gain"] = Figure(healthy[worst], "Var(∂in)/E[(∂out)²]")
        if not math.isnan(updates.ratio):
            evidence["update_ratio"] = Figure(updates.ratio, "‖Δw‖/‖w‖ per step")
            expected["update_ratio"] = Figure(math.sqrt(math.prod(self.healthy_update)), "‖Δw‖/‖w‖ per step")
        if not math.isnan(updates.rms):
            evidence["weight_gradient_rms"] = Figure(updates.rms)
        named = [segment.layers[i] for i in blamed or back.affected]
        trained = (
            worst is not None
            and (severity > Severity.INFO or not updates.learns)
            and made_by_training.made_by_training(
                Signal(history.records[0], history.structure).column(Quantity.EXPECTED_BACKWARD_GAIN, segment),
                signal.column(Quantity.EXPECTED_BACKWARD_GAIN, segment),
                healthy,
                worst,
                direction=self.direction,
            )
        )
        message = _message(back, updates, record.optimizer, severity, half=half)
        if trained and worst is not None:
            message += (
                f" {segment.layers[worst].name} is off most. {made_by_training.told(history, direction=self.direction)}"
            )
        before = segment.before(worst) if worst is not None else None
        return Finding(
            rule=self.name,
            code=self.code,
            severity=severity,
            layers=tuple(layer.name for layer in named),
            step=record.step,
            message=message,
            evidence=evidence,
            expected=expected,
            remedy=made_by_training.remedy(history, direction=self.direction)
            if trained
            else _remedy(back, blamed, severity, history),
            source=gain_source(before.activation if before else segment.layers[0].activation),
        )


@dataclass(frozen=True)
class ExplodingGradients(_GradientsOverDepth):
    """IM201: the variance of the gradient grows exponentially towards the input."""

    code: ClassVar[str] = "IM201"
    name: ClassVar[str] = "exploding-gradients"
    direction: ClassVar[int] = 1


@dataclass(frozen=True)
class VanishingGradients(_GradientsOverDepth):
    """IM202: the variance of the gradient decays exponentially towards the input, or is exactly zero there."""

    code: ClassVar[str] = "IM202"
    name: ClassVar[str] = "vanishing-gradients"
    direction: ClassVar[int] = -1

    warning_change: float = FADING_GRADIENT


def _over_depth(segment: Segment, logs: Column) -> tuple[float, float]:
    """Return slope per layer and change over the chain, both towards the input; NaN with fewer than two levels."""
    levels, profile = by_level(segment.levels, logs)
    if len(levels) < LEAST_LAYERS:
        return math.nan, math.nan
    slope = -theil_sen(levels, profile)
    robust = slope * float(levels[-1] - levels[0])
    ends = float(np.median(profile[:_END_LAYERS]) - np.median(profile[-_END_LAYERS:]))
    return slope, robust if abs(robust) >= abs(ends) else ends


def _silent(variance: Column) -> tuple[int, ...]:
    """Return the positions before the first non-zero gradient, if the gradient is exactly 0 at two or more of them."""
    alive = np.flatnonzero(variance > 0)
    if not alive.size:
        return ()  # no gradient anywhere: nothing was back-propagated, or the loss is constant
    silent = tuple(int(i) for i in np.flatnonzero(variance == 0) if i < alive[0])
    return silent if len(silent) > 1 else ()


def _held_before(segment: Segment, silent: Sequence[int], history: History) -> bool:
    """Say whether the record before shows it too: behind a head of zeros the first gradient is 0, and only the first."""
    if len(history.records) < 2:  # noqa: PLR2004 - one record has none before it
        return False
    before = Signal(history.records[-2], history.structure).column(Quantity.GRADIENT_VARIANCE, segment)
    return bool((before[list(silent)] == 0).all())


def _backward_gains(signal: Signal, segment: Segment) -> tuple[Column, Column]:
    gain = signal.column(Quantity.BACKWARD_GAIN, segment)
    gain = np.where(np.isfinite(gain), gain, signal.column(Quantity.EXPECTED_BACKWARD_GAIN, segment))
    head = segment.layers[-1]
    if head.activation is None and head.fan_out < head.fan_in:
        # A head of few classes sends back little of what it gets (its gain is classes · Var(W)), once, at any depth.
        gain[-1] = math.nan
    fed = [segment.before(i) for i in range(len(segment.layers))]
    return gain, np.array([math.nan if layer is None else healthy_backward_gain(layer) for layer in fed])


def _updates(record: StepRecord, back: _Back, healthy: tuple[float, float]) -> _Updates:
    where = {name: i for i, name in enumerate(record.parameter_names)}
    affected = {back.segment.layers[i].weight for i in back.affected}
    inside = [where[w] for w in affected if w in where]
    outside = [where[x.weight] for x in back.segment.layers if x.weight in where and x.weight not in affected]
    ratio = record.column(Quantity.UPDATE_RATIO) if record.stepped else np.full(len(where), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        rms = record.column(Quantity.WEIGHT_GRADIENT_NORM) / np.sqrt(record.column(Quantity.WEIGHT_COUNT))
    every = ratio[inside + outside]
    low, high = healthy
    even = bool(every.size) and bool(((every >= low) & (every <= high)).all())
    inner = _median(ratio[inside])
    return _Updates(inner, _median(ratio[outside]), _median(rms[inside]), even, learns=low <= inner <= high)


def _median(values: Column) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else math.nan


def _message(back: _Back, updates: _Updates, optimizer: str, severity: Severity, *, half: bool) -> str:
    first, last = back.segment.layers[0].name, back.segment.layers[-1].name
    if back.silent:
        stuck = phrases.names([back.segment.layers[i].name for i in back.affected])
        return (
            f"The gradient is exactly 0 in {stuck}, while layers nearer to the loss have one: nothing there can learn."
        )
    pace = f"grows {phrases.times(back.growth)}" if back.growth >= 1 else f"shrinks to {phrases.times(back.growth)}"
    change = f"from {last} to {first} its variance {phrases.change(back.total)}"
    parts = [f"On its way back the gradient {pace} per layer: {change}."]
    if half:
        parts.append(f"In float16, gradients below {phrases.number(SUBNORMAL_HALF)} become 0, and these are below.")
    if not math.isnan(updates.ratio):
        parts.append(
            f"The weights it concerns change by {phrases.part(updates.ratio)} their size per step"
            f" ({optimizer or 'optimizer'}){_comment(updates, severity)}"
        )
    if severity > Severity.INFO and (epsilon_of(optimizer) or 0) * NEAR_EPSILON > updates.rms:
        parts.append(
            f"Their gradient of {phrases.number(updates.rms)} is as small as the epsilon of {optimizer}"
            f" ({phrases.number(epsilon_of(optimizer) or 0)}), which therefore no longer makes up for it."
        )
    return " ".join(parts)


def _comment(updates: _Updates, severity: Severity) -> str:
    if severity > Severity.INFO:
        return "."
    return ", which is enough to learn." if updates.learns else ", much as those of the other layers do."


def _remedy(back: _Back, blamed: Sequence[int], severity: Severity, history: History) -> str:
    layers = [back.segment.layers[i] for i in blamed]
    if severity is Severity.INFO:
        return "Nothing has to change while the updates stay in their range; an initialisation that keeps the gradient helps."
    if back.silent:
        return (
            "Look at the first layer that still has a gradient: its weights are 0, or the activation before it is off."
        )
    if layers:
        sentence = "Initialise the weights of these layers for the activation that follows them, before training."
        layers = affected_layers.off_too(layers, history, direction=1 if back.total > 1 else -1)
        return snippets.advice(sentence, snippets.initialise(layers, among=history.structure.layers))
    return _remedy_for_all(back, history.structure)


def _squashes(name: str) -> bool:
    """Say whether an activation passes at most a quarter of a gradient."""
    known = activation_called(name)
    return known is not None and known.slopes.largest <= 1 / 4


def _remedy_for_all(back: _Back, structure: Structure) -> str:
    vanishing = back.total < 1
    followers = {layer.activation or "" for layer in back.segment.layers}
    squashing = sorted(name for name in followers if _squashes(name))
    if vanishing and squashing:
        return (
            f"Use another activation than {phrases.names(squashing)}, which passes at most a quarter of a gradient (ReLU"
            " with He's initialisation, tanh with Xavier's), or normalisations between the layers."
        )
    if vanishing:
        return "Add residual connections or normalisations: no single layer is off."
    if structure.residuals:
        return "Start the residual branches at zero or normalise inside them: each addition adds to the gradient too."
    return "Add normalisations, or clip the gradient: no single layer is off."
