"""The status of one layer, in a word and a colour."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from init_monitor.display.carried import CARRIED, places_of
from init_monitor.display.finding_panel import SEVERITY_STYLES
from init_monitor.records import Severity

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


@dataclass(frozen=True, slots=True)
class Status:
    """What is true of the signal at a place, and whether a finding names the layer.

    Attributes:
        word: in a word or two.
        style: its colour.
        rank: how bad it is: -1 for healthy, then the ranks of the severities.
        blamed: a finding names the layer (or a weight of it): the mark next to the word.
    """

    word: str
    style: str
    rank: int
    blamed: bool = False

    @property
    def marked(self) -> str:
        """The word, with :data:`MARK` where a finding names the layer: for a cell of a terminal."""
        return f"{self.word} {MARK}" if self.blamed else self.word

    @property
    def spelled(self) -> str:
        """The word, and in words that a finding names the layer."""
        return f"{self.word} (at fault)" if self.blamed else self.word


MARK = "!"
"""Follows the status of a layer that a finding names."""
LEGEND = f"{MARK} at fault; the status of the others is that of the signal there."

HEALTHY = Status("healthy", "green", -1)
UNSEEN = Status("not measured", "dim", -1)
NONFINITE = Status("non-finite", SEVERITY_STYLES[Severity.WARNING], Severity.WARNING.rank)


def status_of(layer: LayerRecord, known: Layer | None, findings: Sequence[Finding]) -> Status:
    """Return the worst status that a finding gives the layer; one that was not measured is never healthy."""
    worst = max((f for f in findings if names_layer(f, layer, known)), key=lambda f: f.severity.rank, default=None)
    if worst is not None:
        return replace(_said(worst), blamed=True)
    if layer.forward.nonfinite_count or (layer.backward is not None and layer.backward.nonfinite_count):
        return NONFINITE
    return UNSEEN if math.isnan(layer.forward.std) else HEALTHY


def statuses(record: StepRecord, structure: Structure, findings: Sequence[Finding]) -> list[Status]:
    """Return the status of each layer, in execution order.

    What explodes or vanishes is the signal, and a finding names the layers that cause it: others along its path have
    its status too, without the mark (:mod:`init_monitor.display.carried`).
    """
    known, layers = structure.by_name(), list(record)
    own = [status_of(layer, known.get(layer.name), findings) for layer in layers]
    for finding in sorted(findings, key=lambda one: one.severity.rank):
        for i in places_of(finding, record, structure) if finding.rule in CARRIED else ():
            if own[i] in {UNSEEN, NONFINITE} or own[i].rank >= finding.severity.rank:
                continue
            own[i] = replace(_said(finding), blamed=own[i].blamed)
    return own


def status_word(finding: Finding) -> str:
    """Return what a finding says of a place, in a word or two."""
    return _WORDS.get(finding.rule, finding.rule.replace("-", " "))


def _said(finding: Finding) -> Status:
    return Status(status_word(finding), SEVERITY_STYLES[finding.severity], finding.severity.rank)


def names_layer(finding: Finding, layer: LayerRecord, known: Layer | None) -> bool:
    """Say whether the finding names the layer or one of its parameters."""
    if layer.name in finding.layers:
        return True
    return known is not None and any(name and name in finding.layers for name in (known.weight, known.bias))
