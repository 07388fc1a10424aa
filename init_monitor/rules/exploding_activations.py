"""IM101: the signal grows exponentially with depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from init_monitor.analysis import paths
from init_monitor.analysis.consequences import SIGNAL
from init_monitor.analysis.forward_growth import BLAME_FACTOR, depth_change, trend
from init_monitor.analysis.forward_profile import signal_of
from init_monitor.analysis.gains import GLOROT, HE
from init_monitor.analysis.learning import Learning, is_other_loss, learning_of, learns_well
from init_monitor.analysis.segments import segments
from init_monitor.records import Severity
from init_monitor.remedies import growth_over_depth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.analysis.forward_growth import DepthChange, Trend
    from init_monitor.analysis.forward_profile import ForwardProfile
    from init_monitor.records import Finding, History, Structure


@dataclass(frozen=True)
class ExplodingActivations:
    """IM101: the variance of the activations grows exponentially with depth.

    Judged on the outputs of the weight layers, within segments between normalisations: a robust slope (Theil-Sen) of the
    logarithm of their variance. Overflow of the number format within reach is critical in a segment of any length; what has
    grown in a run that learns well is information, and so is an output that grows towards targets far from 0 while its loss falls. The layers named are those whose local gain is off, or all of the segment if
    none is; those that were off at the start remain the cause of what the first steps make of the others.

    **Why.** Each layer multiplies the variance by fan_in · Var(W), and a ReLU after it halves it. A factor of two per layer is
    a billion after thirty, and the loss becomes NaN.

    **Example.** ``nn.init.normal_(weight)`` on ten linear layers of width 512: 512-fold per layer, 1e27-fold in all.

    **Remedy.** Initialise for the activation that follows: He before ReLU, Xavier before tanh or nothing. In a residual
    network start the branches at zero, or normalise inside them.

    Attributes:
        warning_change: variance factor over a segment from which it is a warning: the rms has grown 100-fold. A
            He-initialised network stays far inside: its log variance walks with a standard deviation of
            sqrt(5 · layers / width) (Hanin & Nica 2018, "Products of many large random matrices"), 0.7 for 50 layers of
            width 512, and ln 1e4 is 9.2.
        critical_change: the same for critical: the rms has grown 1e5-fold, and a unit signal is above float16's largest
            number (65504). Overflow within as many more layers is critical, too.
        blame_factor: how far off a layer's local gain may be: half-way to the factor 2 between He and Xavier before a ReLU.
        least_reach: largest element below which growth over depth is none: a faint signal that the first steps bring back comes
            near 1 from below, overflows nothing and drowns nothing.
        least_layers: shorter segments are only looked at for overflow: a slope through fewer weight layers says nothing
            about depth, because a single odd layer would determine it.
    """

    code: ClassVar[str] = "IM101"
    name: ClassVar[str] = "exploding-activations"
    yields_to: ClassVar[tuple[str, ...]] = ("IM701",)
    follows: ClassVar[tuple[str, ...]] = SIGNAL
    source: ClassVar[str] = f"{HE}; {GLOROT}"

    warning_change: float = 1e4
    critical_change: float = 1e10
    blame_factor: float = BLAME_FACTOR
    least_reach: float = 1.0
    least_layers: int = 4

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding per severity."""
        signal = signal_of(history.last, history.structure)
        looked = (self._look(signal.of(segment)) for segment in segments(history.structure))
        changes = [self._as_begun(one, history) for one in looked if one is not None]
        if any(one.severity is Severity.WARNING for one in changes) and _may_grow(history):
            # The weights grow with what is learned; nothing has to change while it is.
            changes = [
                one._replace(severity=Severity.INFO) if one.severity is Severity.WARNING else one for one in changes
            ]
        yield from growth_over_depth.findings(self, changes, history, direction=1, least_blocks=self.least_layers)

    def leaves(self, finding: Finding, other: Finding, structure: Structure) -> frozenset[str]:
        """Return the layers that another finding explains, judged by where their signal comes from."""
        return paths.explained(finding, other, structure)

    def _as_begun(self, change: DepthChange, history: History) -> DepthChange:
        """Leave the blame with the layers that made the signal grow from the start: what steps made of the others follows."""
        first = history.records[0]
        if first.step == history.last.step:
            return change
        began = self._look(signal_of(first, history.structure).of(change.segment))
        if began is None or began.worst is None or began.worst not in change.blamed:
            return change
        return change._replace(blamed=began.blamed, worst=began.worst)

    def _look(self, at: ForwardProfile) -> DepthChange | None:
        overflows = at.overflows_next()
        if not overflows and at.segment.depth < self.least_layers:
            return None
        known = at.abs_max[np.isfinite(at.abs_max)]
        if not overflows and known.size == len(at.abs_max) and float(known.max()) < self.least_reach:
            return None
        growth = trend(at, direction=1)
        severity = Severity.CRITICAL if overflows else self._severity(growth, at.segment.depth)
        if severity is None:
            return None
        change = depth_change(at, growth, severity, self.blame_factor)
        if growth.total >= math.log(self.warning_change) or (limit := at.fullest()) is None:
            return change
        return change._replace(limit=limit, blamed=change.blamed or (limit,))

    def _severity(self, growth: Trend, depth: int) -> Severity | None:
        if growth.total < math.log(self.warning_change):
            return None
        severe = growth.total >= math.log(self.critical_change) or growth.until <= depth
        return Severity.CRITICAL if severe else Severity.WARNING


def _may_grow(history: History) -> bool:
    """Say whether the run has learned well, or learns to reach targets that lie far from where its output began."""
    return learns_well(history) or (is_other_loss(history) and learning_of(history) is Learning.LEARNS)
