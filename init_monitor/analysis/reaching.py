"""What reaches the output of a network: the chains behind the last normalisation, and the output layers themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.analysis.segments import Segment, segments
from init_monitor.records import Role

if TYPE_CHECKING:
    from init_monitor.records import Structure


def reaching_the_output(structure: Structure) -> dict[int, Segment]:
    """Return the chains of weight layers after the last normalisation, without those inside residual blocks, by number."""
    last = max((x.depth for x in structure.layers if x.normalised or x.role is Role.NORMALISATION), default=-1)
    inside = {name for residual in structure.residuals for name in residual.layers}
    kept = {}
    for number, segment in enumerate(segments(structure)):
        chosen = [i for i, x in enumerate(segment.layers) if x.depth > last and x.name not in inside]
        if chosen:
            kept[number] = Segment(
                layers=tuple(segment.layers[i] for i in chosen),
                levels=tuple(segment.levels[i] for i in chosen),
                indices=tuple(segment.indices[i] for i in chosen),
            )
    return kept


def outputs_of(structure: Structure) -> frozenset[str]:
    """Return the weight layers whose output no other weight layer reads."""
    feeds: dict[str, set[str]] = {}
    read: set[str] = set()
    for layer in structure.layers:
        sources = {source for name in layer.inputs for source in feeds.get(name, {name})}
        if layer.role is Role.WEIGHT:
            read |= sources
        else:
            feeds[layer.name] = sources
    weights = [layer for layer in structure.layers if layer.role is Role.WEIGHT]
    # Where the tensor between two layers was not followed, the last one that ran is the output.
    unknown = any(not layer.inputs for layer in weights[1:])
    return frozenset(x.name for x in (weights[-1:] if unknown else weights) if x.name not in read)
