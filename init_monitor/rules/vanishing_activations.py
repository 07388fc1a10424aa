"""IM102: the signal fades exponentially with depth, or stops."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from init_monitor.analysis import paths
from init_monitor.analysis.consequences import SIGNAL
from init_monitor.analysis.forward_growth import (
    BLAME_FACTOR,
    DepthChange,
    depth_change,
    in_branches,
    is_renewed,
    shrunk_since,
    trend,
)
from init_monitor.analysis.forward_profile import signal_of
from init_monitor.analysis.gains import GLOROT, HE
from init_monitor.analysis.lost_samples import ends_of
from init_monitor.analysis.segments import segments
from init_monitor.analysis.siblings import carried_beside
from init_monitor.records import Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import growth_over_depth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.analysis.forward_profile import ForwardProfile
    from init_monitor.records import Finding, History, Structure


@dataclass(frozen=True)
class VanishingActivations:
    """IM102: the variance of the activations decays exponentially with depth, or is exactly zero.

    Judged on the outputs of the weight layers, within segments between normalisations. What fades in a short residual branch
    counts with the skip next to it, and is a warning at most; a normalisation that follows restores it. Networks that are too
    short for a slope are compared with themselves at the first record: their weights may have shrunk since.

    **Why.** Deep layers then see the same thing for every sample, and their gradient is too small to change anything.

    **Example.** Xavier's initialisation in front of ReLU: ½ per layer, a 500-millionth after 29 layers. ``init-monitor demo``
    shows it.

    **Remedy.** Initialise for the activation that follows: He before ReLU. What was in order at the first record was made by
    training: a smaller weight decay, a smaller learning rate, or a smaller weight of the loss term that rewards it.

    Attributes:
        warning_change: variance factor over a segment from which fading is a warning: AlexNet's signal, eight layers in the
            default initialisation of PyTorch, fades to 1/15,000, and learns; 12 layers of Xavier in front of ReLUs, which
            learn markedly worse, to 1/260,000, and 20 to 1/2,000,000.
        critical_change: the same for critical: the rms has faded to 1e-5, and a unit signal is below float16's smallest
            normal number (6.1e-5).
        blame_factor: how far off a layer's local gain may be: half-way to the factor 2 between He and Xavier before a ReLU.
        least_layers: shorter segments are not judged: a slope through fewer weight layers says nothing about depth, because
            one odd layer would be it.
        renewed_variance: variance of what enters a normalisation from which it comes out whole, so that fading before it is
            information: ten times the 1e-5 that LayerNorm and BatchNorm add to it by default.
        start: optimizer steps that weights which start at zero (an embedding behind a gate, an adapter) have to leave it, if they get a
            gradient.
        least_shrunk: weight layers in a row that must have shrunk since the first record, by ``warning_change`` together: a
            single one may be meant to fade, as a gate that closes.
        same: share of an output's variance between samples up to which it is the same for all of them, so that no signal reaches it:
            rounding alone leaves 1e-7.
    """

    code: ClassVar[str] = "IM102"
    name: ClassVar[str] = "vanishing-activations"
    yields_to: ClassVar[tuple[str, ...]] = ("IM401", "IM503", "IM701")
    follows: ClassVar[tuple[str, ...]] = SIGNAL
    source: ClassVar[str] = f"{HE}; {GLOROT}"

    warning_change: float = 1e5
    critical_change: float = 1e10
    blame_factor: float = BLAME_FACTOR
    least_layers: int = 4
    renewed_variance: float = 1e-4
    start: int = 10
    least_shrunk: int = 2
    same: float = 1e-6

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding per severity."""
        structure = history.structure
        signal, inside = signal_of(history.last, structure), in_branches(structure)
        first = history.records[0]
        began = signal_of(first, structure)
        changes: list[DepthChange | None] = []
        chains = segments(structure)
        for segment in chains:
            at = signal.of(segment)
            change = self._look(at, structure, inside)
            if change is not None:
                beside = carried_beside(segment, first, history.last, structure)
                if not np.isnan(beside).all():
                    change = self._look(replace(at, skip=np.fmax(at.skip, beside)), structure, inside)
            if change is None and first.step < history.last.step:
                change = self._shrunk(at, began.of(segment), first.step, structure)
            changes.append(change)
            if change is not None and (self._wakes(change, history) or self._leaves_zero(change, history)):
                changes[-1] = None
        lost = {i for i, one in enumerate(changes) if one is not None and one.severity == Severity.CRITICAL}
        for i in lost:
            # What another branch next to it carries is not lost.
            change = changes[i]
            if change is not None and (not chains[i].meets <= lost or _is_passed(change, history, self.same)):
                changes[i] = change._replace(severity=Severity.WARNING)
        yield from growth_over_depth.findings(
            self, [one for one in changes if one is not None], history, direction=-1, least_blocks=self.least_layers
        )

    def _wakes(self, change: DepthChange, history: History) -> bool:
        """Say whether a part that is silent by weights of 0 is about to move: it has a gradient, and the run has just begun."""
        record, start = history.last, change.silent_from
        if start is None or not record.optimizer or record.step >= self.start:
            return False
        silent = {layer.weight for layer in change.segment.layers[start:] if layer.weight}
        norms = record.parameter_table.by_name(Quantity.WEIGHT_NORM)
        gradients = record.parameter_table.by_name(Quantity.WEIGHT_GRADIENT_NORM)
        return any(norms.get(name) == 0 and gradients.get(name, 0.0) > 0 for name in silent)

    def _leaves_zero(self, change: DepthChange, history: History) -> bool:
        """Say whether the layers whose gain is off had weights of 0 at step 0 and have just begun to leave it, as adapters do."""
        first, record = history.records[0], history.last
        if first.step > 0 or record.step >= self.start or not change.blamed or change.since is not None:
            return False
        began, now = (r.parameter_table.by_name(Quantity.WEIGHT_NORM) for r in (first, record))
        blamed = [change.segment.layers[i].weight for i in change.blamed]
        return all(began.get(name) == 0 and now.get(name, 0.0) > 0 for name in blamed)

    def leaves(self, finding: Finding, other: Finding, structure: Structure) -> frozenset[str]:
        """Return the layers that another finding explains, judged by where their signal comes from."""
        return paths.explained(finding, other, structure)

    def _shrunk(self, at: ForwardProfile, began: ForwardProfile, step: int, structure: Structure) -> DepthChange | None:
        """Return how the weights of a segment have shrunk since the first record: that needs no depth to be seen."""
        change = shrunk_since(at, began, step, Severity.WARNING)
        lost = change.total * self.warning_change <= 1 and at.segment.depth >= self.least_shrunk
        return change if lost and not is_renewed(at, structure, 0.0) else None

    def _look(self, at: ForwardProfile, structure: Structure, inside: frozenset[str]) -> DepthChange | None:
        if (silent := at.silent_from()) is not None:
            return DepthChange(at.segment, Severity.CRITICAL, 0.0, 0.0, at.silenced_by(silent), None, 0.0, silent)
        if at.segment.depth < self.least_layers:
            return None
        fading = trend(at, direction=-1)
        if -fading.total < math.log(self.warning_change):
            return None
        severe = -fading.total >= math.log(self.critical_change) or fading.until <= at.segment.depth
        severity = Severity.CRITICAL if severe else Severity.WARNING
        if is_renewed(at, structure, self.renewed_variance):
            severity = Severity.INFO
        elif inside.issuperset(layer.name for layer in at.segment.layers):
            severity = Severity.WARNING  # it only fades next to skip connections that carry it past
        return depth_change(at, fading, severity, self.blame_factor)


def _is_passed(change: DepthChange, history: History, same: float) -> bool:
    """Say whether an output of the network outside the silent part varies between samples: the signal reaches it another way.

    The bias of a head makes its units differ, and is the same for every sample.
    """
    start = change.silent_from
    silent = set() if start is None else {layer.name for layer in change.segment.layers[start:]}
    table = history.last.layer_table
    ends = [layer for layer in ends_of(history.structure) if layer.name not in silent]
    return start is not None and any(
        table.at(layer.name, Quantity.VARIANCE) > 0 and not table.at(layer.name, Quantity.BETWEEN_SAMPLE_SHARE) <= same
        for layer in ends
    )
