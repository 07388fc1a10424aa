"""IM201: the gradient grows exponentially on its way back to the input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from init_monitor.analysis import paths
from init_monitor.analysis.backward_growth import GradientFault, gradient_change, updates_of
from init_monitor.analysis.consequences import SIGNAL
from init_monitor.analysis.forward_growth import BLAME_FACTOR
from init_monitor.analysis.forward_profile import signal_of
from init_monitor.analysis.gains import GLOROT
from init_monitor.analysis.learning import Learning, learning_of
from init_monitor.analysis.optimizers import epsilon_of
from init_monitor.analysis.pace import HEALTHY_UPDATE
from init_monitor.analysis.segments import segments
from init_monitor.records import Severity
from init_monitor.remedies import gradient_over_depth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.analysis.backward_growth import GradientChange, Updates
    from init_monitor.records import Finding, History, Structure


@dataclass(frozen=True)
class ExplodingGradients:
    """IM201: the variance of the gradient grows exponentially towards the input.

    Judged on ∂loss/∂output of the weight layers. A normalisation does not renew a gradient, so the whole network is one
    chain. How bad it is depends on what the optimizer makes of it: measured updates decide where there are any, and with them the
    loss: growth beside updates of a healthy size is information while the loss does not stand still; under an optimizer that
    rescales the gradient, unless it has grown critically.

    **Why.** With SGD the first layers are thrown far away in one step. Optimizers like Adam rescale each gradient, so there
    it is often information only.

    **Example.** A deep network with a weight variance of 4/fan_in.

    **Remedy.** Initialise the layers it names; in a residual network start the branches at zero; else clip the gradient. Where
    training made it: the learning rate at which the first step that was too large would have been of a healthy size.

    Attributes:
        warning_change: variance factor over the chain from which something is said: the rms has grown 100-fold. In a
            He-initialised network its logarithm walks with a standard deviation of sqrt(5 · layers / width) (Hanin & Nica
            2018), 0.7 for 50 layers of width 512, and ln 1e4 is 9.2.
        critical_change: the same for critical, where no update says otherwise: the rms has grown 1e5-fold, more than float16
            can hold next to a gradient of 1.
        blame_factor: how far off a layer's local backward gain may be: half-way to the factor 2 between He and Xavier.
        least_layers: shorter chains are not judged: a slope through fewer layers says nothing about depth.
        healthy_update: range of ‖Δw‖/‖w‖ of one step in which a weight learns: a decade and more around the 1e-3 that is
            usually aimed at.
        even: updates within this factor of those near the output count as rescaled, whatever the learning rate (warm-up).
        replaces: ‖Δw‖/‖w‖ of a first step from which one is enough for a warning: it replaces the weight. A smaller one may be the only
            one of its size.
    """

    code: ClassVar[str] = "IM201"
    name: ClassVar[str] = "exploding-gradients"
    yields_to: ClassVar[tuple[str, ...]] = ("IM701",)
    follows: ClassVar[tuple[str, ...]] = SIGNAL
    source: ClassVar[str] = f"He et al. 2015, 'Delving deep into rectifiers', Sec. 2.2 (backward case); {GLOROT}"

    warning_change: float = 1e4
    critical_change: float = 1e10
    blame_factor: float = BLAME_FACTOR
    least_layers: int = 4
    healthy_update: tuple[float, float] = HEALTHY_UPDATE
    even: float = 10.0
    replaces: float = 1.0

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding."""
        signal = signal_of(history.last, history.structure)
        chains = segments(history.structure, through_normalisation=True)
        seen = [
            change
            for chain in chains
            if chain.depth >= self.least_layers
            and (change := gradient_change(signal, chain, self.warning_change, direction=1)) is not None
        ]
        if seen:
            worst = max(seen, key=lambda change: change.total)
            updates = updates_of(history.last, worst, self.healthy_update)
            learning = learning_of(history)
            severity = self._severity(worst, updates, history, learning)
            yield gradient_over_depth.finding(self, GradientFault(worst, updates, severity, learning=learning), history)

    def leaves(self, finding: Finding, other: Finding, structure: Structure) -> frozenset[str]:
        """Return the layers that another finding explains, judged by where their signal comes from."""
        return paths.explained(finding, other, structure)

    def _severity(self, change: GradientChange, updates: Updates, history: History, learning: Learning) -> Severity:
        record, structure = history.last, history.structure
        # A change at one place does not grow with depth: without updates that show it, it is not critical.
        severe = change.steady and math.log(change.total) >= math.log(self.critical_change)
        by_norm = Severity.CRITICAL if severe else Severity.WARNING
        if math.isnan(updates.ratio):
            # Next to skip connections the chain is not the only path back: without updates the gradient is not known to be lost.
            return Severity.WARNING if structure.residuals else by_norm
        if not record.optimizer or epsilon_of(record.optimizer) is None:
            # Where the layers concerned are changed by a healthy part of their size, nothing is thrown away, unless the loss says so.
            kept = updates.learns and learning in {Learning.LEARNS, Learning.UNKNOWN}
            # A first step that leaves the weights their direction may be the only one of its size: the second decides.
            once = len(history.records) == 1 and by_norm is Severity.WARNING and updates.ratio < self.replaces
            return Severity.INFO if updates.even or kept or once else by_norm
        low, high = self.healthy_update
        rescaled = 1 / self.even <= updates.ratio / (updates.elsewhere or math.inf) <= self.even
        # Steps of a usual size in the direction of a gradient that grew so much lead nowhere, where the loss stays.
        chaotic = severe and learning is Learning.LEVEL
        return Severity.INFO if (low <= updates.ratio <= high or rescaled) and not chaotic else Severity.WARNING
