"""Output layers that start small: on purpose, and no part of a signal that fades."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.analysis.lost_samples import ends_of
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.analysis.segments import Segment
    from init_monitor.records import StepRecord, Structure

SMALL_END = 1 / 30
"""Gain of an output layer, Var(out)/E[in²], below which it was made small: torch's own weights give 1/3, ten times that. Small on purpose are
the heads of policies (0.01 of an orthogonal weight), of detectors and classifiers (N(0, 0.01²)), the ends of couplings and of
diffusion models (0)."""


def end_modules(structure: Structure) -> frozenset[str]:
    """Return the paths of the output layers: no other layer reads anything of them (of a recurrent one the state is left over)."""
    read = {name for layer in structure.layers for name in layer.inputs}
    return frozenset(x.module for x in ends_of(structure)) - {x.module for x in structure.layers if x.name in read}


def small_ends(record: StepRecord, structure: Structure) -> frozenset[str]:
    """Return the names of the output layers whose weights let next to nothing through."""
    given = record.layer_table
    return frozenset(x.name for x in ends_of(structure) if given.at(x.name, Quantity.EXPECTED_GAIN) < SMALL_END)


def without(segment: Segment, names: frozenset[str]) -> Segment:
    """Return a segment without some of its layers."""
    kept = [i for i, layer in enumerate(segment.layers) if layer.name not in names]
    if len(kept) == len(segment.layers):
        return segment
    return replace(
        segment,
        layers=tuple(segment.layers[i] for i in kept),
        levels=tuple(segment.levels[i] for i in kept),
        indices=tuple(segment.indices[i] for i in kept),
    )
