"""How the gradient grows or fades over depth on its way back to the input, and what the weights receive."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.forward_profile import Signal, signal_of
from init_monitor.analysis.gains import healthy_backward_gain
from init_monitor.analysis.learning import Learning
from init_monitor.analysis.medians import median
from init_monitor.analysis.segments import bounded_exp, by_level, log_of, theil_sen
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.analysis.segments import Segment
    from init_monitor.records import Column, History, Layer, Severity, StepRecord, Structure

_END_LAYERS = 3
"""Each end of the profile is the median of this many levels, so that one odd layer (a head) does not decide."""


class GradientChange(NamedTuple):
    """One chain of weight layers, seen backward.

    Attributes:
        segment: the chain.
        growth: variance factor per layer towards the input.
        total: variance factor from the output end to the input end.
        affected: positions of the layers whose gradient is far from that at the output end.
        silent: True if the gradient of the affected layers is exactly 0.
        steady: True if it happens layer by layer; False if at one place (a layer scale of 1e-5 on one branch).
    """

    segment: Segment
    growth: float
    total: float
    affected: tuple[int, ...]
    silent: bool = False
    steady: bool = True


class Swallowed(NamedTuple):
    """An activation that swallows the gradient.

    Attributes:
        layer: the activation.
        share: of the gradient's mean square that it passes on.
    """

    layer: Layer
    share: float


class Updates(NamedTuple):
    """What weights receive: medians; NaN where not measured.

    Attributes:
        ratio: ‖Δw‖/‖w‖ of one step of the affected weights.
        elsewhere: the same of the other weights of the chain.
        rms: of the gradient of the affected weights.
        even: every weight of the chain is updated by a healthy fraction of its size.
        learns: the affected ones are.
    """

    ratio: float
    elsewhere: float
    rms: float
    even: bool
    learns: bool


class GradientFault(NamedTuple):
    """What is wrong with the gradient of one chain.

    Attributes:
        change: how it changes over the chain.
        updates: what the weights concerned receive.
        severity: by consequence.
        underflow: half-precision gradients become 0.
        near_epsilon: gradient rms, in epsilons of the optimizer, below which its epsilon counts.
        learning: what the loss says about the run.
    """

    change: GradientChange
    updates: Updates
    severity: Severity
    underflow: bool = False
    near_epsilon: float = 0.0
    learning: Learning = Learning.UNKNOWN

    @property
    def direction(self) -> int:
        """1 for a gradient that grows towards the input, -1 for one that fades."""
        return 1 if self.change.total > 1 else -1


def gradient_change(signal: Signal, segment: Segment, least_change: float, *, direction: int) -> GradientChange | None:
    """Return how the gradient changes over a chain; ``None`` if by less than a factor of ``least_change``.

    Args:
        signal: the record.
        segment: the chain.
        least_change: variance factor over the chain, above 1.
        direction: 1 for a gradient that grows towards the input, -1 for one that fades.
    """
    bar = math.log(least_change)
    agreed = change_over(signal, segment, direction=direction)
    if agreed < bar:
        return None
    logs = signal.gradient_logs(segment)
    slope, _ = _over_depth(segment, logs)
    levels, profile = by_level(segment.levels, logs)
    off = direction * (logs - median(profile[-_END_LAYERS:]))
    affected = tuple(int(i) for i in np.flatnonzero(off >= bar))
    top = tuple(int(i) for i in np.flatnonzero(np.asarray(segment.levels) == levels[0]))
    return GradientChange(
        segment,
        bounded_exp(slope),
        bounded_exp(direction * agreed),
        affected or top,
        steady=direction * slope * (segment.depth - 1) >= bar,
    )


def change_over(signal: Signal, segment: Segment, *, direction: int) -> float:
    """Return by how much the log variance changes over the chain in a direction.

    The energy of the gradient, not its variance, is what pooling, strides and widening layers keep; a change must
    show in both to be more than a change of shape.
    """
    logs = signal.gradient_logs(segment)
    energy = logs + log_of(signal.column(Quantity.GRADIENT_COUNT, segment))
    changes = [direction * _over_depth(segment, column)[1] for column in (logs, energy)]
    return min((change for change in changes if not math.isnan(change)), default=0.0)


def stopped(signal: Signal, segment: Segment, history: History) -> GradientChange | None:
    """Return a chain whose gradient stops on its way, with the layers that get none; ``None`` if it does not.

    The record before must show it, too: behind a head of zeros the first gradient is 0, and only the first.
    """
    variance = signal.column(Quantity.GRADIENT_VARIANCE, segment)
    square = signal.column(Quantity.GRADIENT_MEAN_SQUARE, segment)
    # A gradient without variance may still be one: the same for every unit and sample.
    energy = np.where(np.isnan(square), variance, square)
    alive = np.flatnonzero(energy > 0)
    if not alive.size or len(history.records) < 2:  # noqa: PLR2004 - one record has none before it
        return None  # no gradient anywhere: nothing was back-propagated, or the loss is constant
    silent = tuple(int(i) for i in np.flatnonzero(energy == 0) if i < alive[0])
    if len(silent) < 2:  # noqa: PLR2004 - one layer may be off for a reason of its own
        return None
    before = signal_of(history.records[-2], history.structure).column(Quantity.GRADIENT_VARIANCE, segment)
    return GradientChange(segment, 0.0, 0.0, silent, silent=True) if (before[list(silent)] == 0).all() else None


def leaves_zero(segment: Segment, history: History) -> bool:
    """Say whether a weight of a chain was 0 at the first record and has left that since, or does with this step.

    Modulations of zeros below a head of zeros (a diffusion Transformer) let no gradient pass in two steps, and next to none in the
    steps that follow, which are the first that change them.
    """
    first, last = (record.parameter_table for record in (history.records[0], history.last))
    began, now = (table.by_name(Quantity.WEIGHT_NORM) for table in (first, last))
    gradients = last.by_name(Quantity.WEIGHT_GRADIENT_NORM)
    return any(
        began.get(layer.weight) == 0 and (now.get(layer.weight, 0.0) > 0 or gradients.get(layer.weight, 0.0) > 0)
        for layer in segment.layers
    )


def _over_depth(segment: Segment, logs: Column) -> tuple[float, float]:
    """Return slope per layer and change over the chain, both towards the input; NaN with too few levels."""
    levels, profile = by_level(segment.levels, logs)
    if len(levels) <= _END_LAYERS:
        return math.nan, math.nan
    slope = -theil_sen(levels, profile)
    robust = slope * float(levels[-1] - levels[0])
    ends = median(profile[:_END_LAYERS]) - median(profile[-_END_LAYERS:])
    return slope, robust if abs(robust) >= abs(ends) else ends


def swallowed_by(change: GradientChange, record: StepRecord, structure: Structure) -> Swallowed | None:
    """Return the activation that lets through so little of the gradient that it accounts for most of a chain's fading.

    Its own output and the layer it reads have the same shape, so their gradients can be compared element for element.
    """
    arriving = record.layer_table.by_name(Quantity.GRADIENT_MEAN_SQUARE)
    chain = {layer.name for layer in change.segment.layers}
    passes: list[Swallowed] = []
    for layer in structure.layers:
        reads = [name for name in layer.inputs if name in chain]
        if layer.role is not Role.ACTIVATION or len(reads) != 1 or len(layer.inputs) != 1:
            continue
        before, after = arriving.get(reads[0], math.nan), arriving.get(layer.name, math.nan)
        if before >= 0 and after > 0:
            passes.append(Swallowed(layer, before / after))
    least = min(passes, key=lambda one: one.share, default=None)
    return least if least is not None and least.share**2 <= change.total < 1 else None


def backward_gains(signal: Signal, segment: Segment) -> tuple[Column, Column]:
    """Return the backward gains of a chain's layers, measured or as their weights give them, and the healthy ones."""
    gain = signal.column(Quantity.BACKWARD_GAIN, segment)
    gain = np.where(np.isfinite(gain), gain, signal.column(Quantity.EXPECTED_BACKWARD_GAIN, segment))
    head = segment.layers[-1]
    if head.activation is None and head.fan_out < head.fan_in:
        # A head with few classes sends back little of what it gets (its gain is classes · Var(W)), once, at any depth.
        gain[-1] = math.nan
    fed = [segment.before(i) for i in range(len(segment.layers))]
    return gain, np.array([math.nan if layer is None else healthy_backward_gain(layer) for layer in fed])


def updates_of(record: StepRecord, change: GradientChange, healthy: tuple[float, float]) -> Updates:
    """Return what the weights of a chain receive; ``healthy`` is the range of ‖Δw‖/‖w‖ in which a weight learns."""
    where = {name: i for i, name in enumerate(record.parameter_names)}
    layers = change.segment.layers
    affected = {layers[i].weight for i in change.affected}
    inside = [where[w] for w in affected if w in where]
    outside = [where[x.weight] for x in layers if x.weight in where and x.weight not in affected]
    ratio = record.column(Quantity.UPDATE_RATIO) if record.stepped else np.full(len(where), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        rms = record.column(Quantity.WEIGHT_GRADIENT_NORM) / np.sqrt(record.column(Quantity.WEIGHT_COUNT))
    every = ratio[inside + outside]
    low, high = healthy
    even = bool(every.size) and bool(((every >= low) & (every <= high)).all())
    inner = _median(ratio, inside)
    return Updates(inner, _median(ratio, outside), _median(rms, inside), even, learns=low <= inner <= high)


def _median(values: Column, chosen: Sequence[int]) -> float:
    values = values[list(chosen)]
    finite = values[np.isfinite(values)]
    return median(finite) if finite.size else math.nan
