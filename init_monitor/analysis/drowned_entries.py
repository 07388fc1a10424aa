"""Streams that what is added on entering drowns: positions beside which the words are nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from init_monitor.analysis.residual_streams import Measured, streams
from init_monitor.records import INPUT, PARAMETER, Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import Layer, StepRecord, Structure

OUTWEIGHED = 1e4
"""Factor of the variance from which what is added drowns a layer's output: the rms is a hundred times as large. Sines beside embeddings
from N(0, 0.02), which learn, are 1,250 times as large."""

WEIGHS = 2e3
"""The same in a run whose loss has hardly fallen: above what sines beside embeddings weigh."""

BROADCAST = 0.5
"""Part of the elements of the largest input up to which another is the same for several samples: positions for two sequences or more."""


class DrownedEntry(NamedTuple):
    """A layer whose output is nothing beside what is added to it where a stream begins.

    Attributes:
        layers: those that are drowned.
        by: the layers that do it; empty if it is a parameter, or a tensor that no layer made.
        reads: which reads the sum first.
        factor: variance of the sum over that of what is drowned.
    """

    layers: tuple[Layer, ...]
    by: tuple[Layer, ...]
    reads: Layer
    factor: float


def drowned_entry(record: StepRecord, structure: Structure, least: float = OUTWEIGHED) -> DrownedEntry | None:
    """Return the first stream that something added drowns as it begins; ``None`` if there is none.

    What no layer made (the network's input, a parameter) may differ between samples or not; an output with fewer elements than another
    that it is added to does not.

    Args:
        record: what was measured.
        structure: the network.
        least: factor of the variance from which it counts.
    """
    known, table, measured = structure.by_name(), record.layer_table, Measured(record)
    for stream in streams(structure):
        first = stream.residuals[0]
        reads = next((known[name] for name in first.layers if name in known), None)
        given = [known[name] for name in (reads.inputs if reads else ()) if name in known]
        if reads is None or not given or any(layer.role is not Role.WEIGHT for layer in given):
            continue
        counts = {layer.name: table.at(layer.name, Quantity.COUNT) for layer in given}
        most = max(counts.values())
        by = tuple(layer for layer in given if counts[layer.name] <= BROADCAST * most)
        layers = tuple(layer for layer in given if layer not in by)
        # A layer's output that was only scaled has that layer for its maker; a sum has the module that adds, or none.
        scaled = first.skip in {name for layer in given for name in (layer.name, layer.module)}
        # Nor is anything added from outside where another stream goes on, whose skips may have been doubled.
        ends = {one.branch for one in structure.residuals if one.depth < first.depth}
        goes_on = any(not ends.isdisjoint((layer.name, layer.module)) for layer in given)
        if not by and (scaled or goes_on) and not {INPUT, PARAMETER}.intersection(reads.inputs):
            continue
        own = sum(table.at(layer.name, Quantity.VARIANCE) for layer in layers)
        entering = float(measured.column(Quantity.RESIDUAL_SKIP_VAR, stream)[0])
        if own > 0 and entering >= least * own:
            return DrownedEntry(layers, by, reads, entering / own)
    return None
