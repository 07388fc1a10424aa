"""What is measured to be off in a network before its first step: by chain, by residual stream, by weight.

A plan changes only what one of these names, and only if the change brings it nearer to what is healthy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from init_monitor.analysis.backward_growth import change_over
from init_monitor.analysis.forward_growth import trend
from init_monitor.analysis.forward_profile import signal_of
from init_monitor.analysis.lost_samples import ends_of
from init_monitor.analysis.recurrent import GATES
from init_monitor.analysis.residual_streams import Measured, streams
from init_monitor.analysis.segments import by_level, log_of, segments
from init_monitor.analysis.small_ends import without
from init_monitor.analysis.summed_inputs import parted, summed_inputs
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.analysis.segments import Segment
    from init_monitor.records import StepRecord, Structure

FAR = math.log(100.0)
"""A variance that changes over a chain or a stream by more than this (its logarithm; ten times in rms) is off: the first
updates of one end are then too large or too small for the other."""

LOGITS = 4.0
"""Standard deviation of an output from which it is off: a cross entropy then starts about 8 nats above guessing."""

CONSTANT = 1e-12
"""Var(w)/E[w²] up to which all elements of a weight are one number: rounding alone."""


@dataclass(frozen=True)
class StartFault:
    """One thing that is off.

    Attributes:
        kind: ``"signal"``, ``"gradient"``, ``"stream"``, ``"output"``, ``"samples"``, ``"constant"``, ``"weight"``.
        modules: paths of the modules that a plan may change for it, in execution order.
        off: how far, as a logarithm of a variance factor, 0 or more; infinite where nothing is left.
        says: what was measured, as a clause: "its variance falls by 1.2e4 over 6 layers".
    """

    kind: str
    modules: tuple[str, ...]
    off: float
    says: str


UNDER_DROPOUT = 3.0
"""With dropout a variance may change by this power of it: what dropout takes out is noise in proportion to the signal, and
a chain of He's variance carries all of it on. Measured on digits, 200 steps of AdamW: 4 ReLU layers with a dropout of 0.5
ended at 0.93 from PyTorch's start, whose gradient falls by 500, and at 2.1 from He's; 8 layers with 0.1, whose gradient
falls by 1e6, at 0.87 and 0.4."""


OF_NUMBERS = 2.25
"""The same where the targets are numbers, which a small signal fits as well: of 78 pairs of a network of 3 to 12 layers and a regression
the plan ended 15 % above the default start in 16 of 42 whose variance falls by less than 3e4, and in 8 of 36 beyond it, where the
others gain up to thirtyfold."""


def start_faults(
    record: StepRecord,
    structure: Structure,
    *,
    power: float = 1.0,
    scale_free: frozenset[str] = frozenset(),
    small: frozenset[str] = frozenset(),
) -> tuple[StartFault, ...]:
    """Return what is off, in the order in which it is looked at.

    Args:
        record: of the first forward and backward.
        structure: the network.
        power: of :data:`FAR`, up to which a chain may change: :data:`UNDER_DROPOUT`, :data:`OF_NUMBERS` or 1.
        scale_free: paths of the modules whose output the loss takes at any scale, as a cosine does.
        small: names of the output layers that are small on purpose, and left out.
    """
    far = FAR * power
    chains = (*_signals(record, structure, scale_free, small), *_gradients(record, structure, small))
    fading = [fault for fault in (*chains, *_samples(record, structure, small)) if fault.off > far]
    return (
        *_constants(record, structure),
        *(fault for fault in fading if fault.kind != "samples"),
        *_streams(record, structure),
        *_outputs(record, structure),
        *(fault for fault in fading if fault.kind == "samples"),
    )


def _factor(log: float) -> str:
    return f"{math.exp(min(abs(log), 700.0)):.2g}"


def _constants(record: StepRecord, structure: Structure) -> Iterator[StartFault]:
    """A weight that is one number makes all units of its layer the same.

    Zeros are a healthy start where the first step ends them (the end of a residual branch, an adapter's second factor, the
    modulation of a diffusion transformer, a head). They stay where they get no gradient because what arrives is constant.
    """
    for layer in structure.layers:
        if layer.role is not Role.WEIGHT or not layer.weight:
            continue
        at = record.parameter_table.at
        mean, variance = at(layer.weight, Quantity.WEIGHT_MEAN), at(layer.weight, Quantity.WEIGHT_VARIANCE)
        learns = at(layer.weight, Quantity.TRAINABLE) == 1
        if not learns or not variance <= CONSTANT * (mean * mean + variance):
            continue
        if mean:
            yield StartFault("constant", (layer.module,), math.inf, "all its weights are one number")
        elif (
            at(layer.weight, Quantity.WEIGHT_GRADIENT_NORM)
            == 0
            == record.layer_table.at(layer.name, Quantity.INPUT_VARIANCE)
        ):
            yield StartFault("constant", (layer.module,), math.inf, "its weights are zero and get no gradient")


def _modules(segment: Segment) -> tuple[str, ...]:
    return tuple(dict.fromkeys(layer.module for layer in segment.layers))


def _chains(
    record: StepRecord, structure: Structure, small: frozenset[str], *, through_normalisation: bool = False
) -> Iterator[tuple[Segment, Segment]]:
    """Segments of two layers or more whose scale can be judged: what is judged, and all of it.

    A gated cell keeps its state bounded whatever it receives, and a sine's frequency stands between it and its layer.
    """
    sums = summed_inputs(record, structure)
    parts = (parted(segment, sums) for segment in segments(structure, through_normalisation=through_normalisation))
    for whole in chain.from_iterable(parts):
        segment = without(whole, small)
        judged = all(x.kind.removesuffix("Cell") not in GATES and x.activation != "Sin" for x in segment.layers)
        if segment.depth > 1 and judged:
            yield segment, whole


def _signals(
    record: StepRecord, structure: Structure, scale_free: frozenset[str], small: frozenset[str]
) -> Iterator[StartFault]:
    signal = signal_of(record, structure)
    for segment, whole in _chains(record, structure, small):
        at = signal.of(segment)
        if any(layer.frequency for layer in segment.layers):
            continue  # what a sine multiplies by its frequency is smaller by that than what the first layer makes of coordinates
        if at.silent_from() is not None:
            yield StartFault("signal", _modules(whole), math.inf, "what it gives is constant")
            continue
        last = [
            layer.module
            for layer, level in zip(segment.layers, segment.levels, strict=True)
            if level == max(segment.levels)
        ]
        if scale_free.issuperset(last):
            continue
        changes = [trend(at, direction=direction).total for direction in (1, -1)]
        total = max(changes, key=abs)
        if abs(total) > FAR:
            verb = "grows" if total > 0 else "falls"
            says = f"the signal's variance {verb} by {_factor(total)} over {segment.depth} layers"
            yield StartFault("signal", _modules(whole), abs(total), says)


def _gradients(record: StepRecord, structure: Structure, small: frozenset[str]) -> Iterator[StartFault]:
    signal = signal_of(record, structure)
    for segment, whole in _chains(record, structure, small, through_normalisation=True):
        total = max((direction * change_over(signal, segment, direction=direction) for direction in (1, -1)), key=abs)
        if abs(total) > FAR:
            verb = "grows" if total > 0 else "falls"
            says = f"the gradient's variance {verb} by {_factor(total)} on its way back through {segment.depth} layers"
            yield StartFault("gradient", _modules(whole), abs(total), says)


def _streams(record: StepRecord, structure: Structure) -> Iterator[StartFault]:
    measured = Measured(record)
    for stream in streams(structure):
        for growth, where in ((measured.forward(stream), "signal"), (measured.backward(stream), "gradient")):
            total = growth.steady_total
            if math.isfinite(total) and total > 0 and math.log(total) > FAR:
                names = {name for residual in stream.residuals for name in residual.layers}
                inside = (layer.module for layer in structure.layers if layer.name in names)
                says = f"the {where}'s variance grows by {_factor(math.log(total))} over {stream.blocks} blocks"
                yield StartFault("stream", tuple(dict.fromkeys(inside)), math.log(total), says)


def _outputs(record: StepRecord, structure: Structure) -> Iterator[StartFault]:
    for layer in ends_of(structure):
        std = math.sqrt(max(record.layer_table.at(layer.name, Quantity.VARIANCE), 0.0))
        given = record.layer_table.at(layer.name, Quantity.EXPECTED_GAIN)
        if layer.role is Role.WEIGHT and std > LOGITS and given > LOGITS:
            tied = tuple(x.module for x in structure.layers if x.weight and x.weight == layer.weight)
            says = f"the output starts with a standard deviation of {std:.2g}"
            yield StartFault(
                "output", tuple(dict.fromkeys((*tied, layer.module))), 2 * math.log(std / LOGITS) + FAR, says
            )


def _samples(record: StepRecord, structure: Structure, small: frozenset[str]) -> Iterator[StartFault]:
    """Of the variance, the part that differs between samples may fade while the whole does not: behind sigmoids."""
    signal = signal_of(record, structure)
    for segment, whole in _chains(record, structure, small):
        levels, shares = by_level(segment.levels, log_of(signal.column(Quantity.BETWEEN_SAMPLE_SHARE, segment)))
        if len(levels) > 1 and shares[0] - shares[-1] > FAR:
            says = f"the part of the signal that differs between samples falls by {_factor(shares[0] - shares[-1])}"
            yield StartFault("samples", _modules(whole), float(shares[0] - shares[-1]), says)
