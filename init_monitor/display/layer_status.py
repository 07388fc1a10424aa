"""The status of one layer, in a word and a colour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from init_monitor.display.finding_panel import SEVERITY_STYLES
from init_monitor.records import Role, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Finding, Layer, LayerRecord, StepRecord, Structure

_WORDS = {
    "exploding-activations": "exploding",
    "vanishing-activations": "vanishing",
    "exploding-gradients": "grad explodes",
    "vanishing-gradients": "grad vanishes",
    "dead-relu": "dead",
    "linear-regime": "linear regime",
    "saturation": "saturated",
    "residual-growth": "growing",
    "silent-branch": "silent branch",
    "symmetry": "symmetric",
    "sample-collapse": "collapsed",
}
"""Short names of rules whose own name is longer than a cell."""


_CARRIED = frozenset(
    _WORDS[rule]
    for rule in ("exploding-activations", "vanishing-activations", "exploding-gradients", "vanishing-gradients")
)
"""Statuses of a signal, not of a layer: an activation after the layer at fault passes them on."""


@dataclass(frozen=True, slots=True)
class Status:
    """Word, style and how bad it is: -1 for healthy, then the ranks of the severities."""

    word: str
    style: str
    rank: int


HEALTHY = Status("healthy", "green", -1)
UNSEEN = Status("not measured", "dim", -1)
NONFINITE = Status("non-finite", SEVERITY_STYLES[Severity.WARNING], Severity.WARNING.rank)


def status_of(layer: LayerRecord, known: Layer | None, findings: Sequence[Finding]) -> Status:
    """Return the worst status that a finding gives the layer; one that was not measured is never healthy."""
    worst = max((f for f in findings if names_layer(f, layer, known)), key=lambda f: f.severity.rank, default=None)
    if worst is not None:
        word = _WORDS.get(worst.rule, worst.rule.replace("-", " "))
        return Status(word, SEVERITY_STYLES[worst.severity], worst.severity.rank)
    if layer.forward.nonfinite_count or (layer.backward is not None and layer.backward.nonfinite_count):
        return NONFINITE
    return UNSEEN if math.isnan(layer.forward.std) else HEALTHY


def statuses(record: StepRecord, structure: Structure, findings: Sequence[Finding]) -> list[Status]:
    """Return the status of each layer, in execution order.

    An activation that no finding names has the status of the layer that feeds it, where that is about the signal: a
    ReLU that passes on a vanished signal is not healthy.
    """
    known = structure.by_name()
    found: dict[str, Status] = {}
    for layer in record:
        own, described = status_of(layer, known.get(layer.name), findings), known.get(layer.name)
        if own is HEALTHY and described is not None and described.role is Role.ACTIVATION:
            fed = (found[name] for name in described.inputs if name in found)
            own = next((status for status in fed if status.word in _CARRIED), own)
        found[layer.name] = own
    return list(found.values())


def names_layer(finding: Finding, layer: LayerRecord, known: Layer | None) -> bool:
    """Say whether the finding names the layer or one of its parameters."""
    if layer.name in finding.layers:
        return True
    return known is not None and any(name and name in finding.layers for name in (known.weight, known.bias))
