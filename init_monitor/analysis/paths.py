"""Which layers a signal reaches from a given layer, as far as it was followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from init_monitor.records import Finding, Structure

INPUT_SCALE, DEGENERATE, DEAD = "IM701", "IM503", "IM301"
"""Codes of the findings that are the cause of others along a path."""


def behind(names: Collection[str], structure: Structure) -> frozenset[str]:
    """Return these layers and all layers that their output may reach.

    A layer of which nothing is known, or that takes a tensor that no layer made, is reached if one before it was: what lies
    between two layers (a sum, a sampled code) is not always followed.
    """
    reached: set[str] = set()
    for layer in structure.layers:
        known = [name for name in layer.inputs if name != layer.name]
        fed = any(name in reached for name in known) or (not known and reached)
        if layer.name in names or fed:
            reached.add(layer.name)
    return frozenset(reached)


def before(names: Collection[str], structure: Structure) -> frozenset[str]:
    """Return these layers and all layers that their input may come from.

    What is not followed back (nothing is known of where a layer's input is from) may come from all that ran before it.
    """
    known = structure.by_name()
    found, waiting, unknown = set(names), [known[name] for name in names if name in known], -1
    while waiting:
        layer = waiting.pop()
        if not any(name != layer.name for name in layer.inputs):
            unknown = max(unknown, layer.depth)
        for name in layer.inputs:
            if name in known and name not in found:
                found.add(name)
                waiting.append(known[name])
    return frozenset(found | {layer.name for layer in structure.layers if layer.depth <= unknown})


def explained(finding: Finding, other: Finding, structure: Structure) -> frozenset[str]:
    """Return the layers of a finding that another finding explains, by where the signal comes from.

    An input out of scale (IM701) explains what happens to the signal behind it; a layer that lets nothing through (IM503, or IM301
    where all its units are dead) that, and the gradient that does not come back before it. Of other findings, only the layers that
    both name.
    """
    places = frozenset(finding.layers or ("",))
    shut = other.code == DEGENERATE or (other.code == DEAD and other.evidence.get("dead_fraction", 0.0) >= 1)
    if not shut and other.code != INPUT_SCALE:
        return places & frozenset(other.layers) if other.layers else places
    reached = behind(other.layers, structure)
    return places & (reached | before(other.layers, structure) if shut else reached)
