"""IM202: the gradient fades exponentially on its way back to the input, or stops."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from init_monitor.analysis import paths
from init_monitor.analysis.backward_growth import (
    GradientFault,
    change_over,
    gradient_change,
    leaves_zero,
    stopped,
    updates_of,
)
from init_monitor.analysis.consequences import SIGNAL
from init_monitor.analysis.dtypes import FORMATS
from init_monitor.analysis.forward_growth import BLAME_FACTOR
from init_monitor.analysis.forward_profile import Signal, signal_of
from init_monitor.analysis.learning import Learning, learning_of
from init_monitor.analysis.optimizers import epsilon_of
from init_monitor.analysis.pace import HEALTHY_UPDATE
from init_monitor.analysis.segments import segments
from init_monitor.records import Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import gradient_over_depth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.analysis.backward_growth import GradientChange, Updates
    from init_monitor.analysis.segments import Segment
    from init_monitor.records import Finding, History, Structure


@dataclass(frozen=True)
class VanishingGradients:
    """IM202: the variance of the gradient decays exponentially towards the input, or is exactly zero there.

    Judged on ∂loss/∂output of the weight layers. A normalisation does not renew a gradient, so the whole network is one
    chain. How bad it is depends on what the optimizer makes of it: measured updates decide where there are any, and the loss: what is
    information otherwise is a warning in a run whose loss stays level. Where a faint
    residual branch is all that carries the gradient (LayerScale), only if that lasts.

    **Why.** With SGD the first layers hardly move. With Adam they move until the gradient comes near its epsilon (1e-8), below
    which it is not rescaled any more.

    **Example.** PyTorch's default for ``nn.Linear`` in a deep ReLU network: a sixth per layer.

    **Remedy.** Initialise the layers it names, or add residual connections or normalisations.

    Attributes:
        warning_change: variance factor over the chain from which fading is told: AlexNet's gradient, in the default
            initialisation of PyTorch, fades to 1/76,000, and learns; that of 20 layers of Xavier in front of ReLUs to
            1/430,000.
        critical_change: the same for critical, where no update says otherwise: the rms has faded to 1e-5, below float16's
            smallest normal number next to a gradient of 1.
        blame_factor: how far off a layer's local backward gain may be: half-way to the factor 2 between He and Xavier.
        least_layers: shorter chains are not judged: a slope through fewer layers says nothing about depth.
        healthy_update: range of ‖Δw‖/‖w‖ of one step in which a weight learns: a decade and more around the 1e-3 that is
            usually aimed at.
        even: updates within this factor of those near the output count as rescaled, whatever the learning rate (warm-up).
        near_epsilon: gradient rms, in epsilons of the optimizer, below which it is a warning: at ten epsilons an Adam step
            is 9 % short; at a tenth of one, which is critical, it is a tenth of what it should be.
        hopeless_update: ‖Δw‖/‖w‖ of one step at which even a hundred thousand steps change nothing, while others learn.
        least_records: sampled steps in a row that must show it where a faint residual branch is all that carries the
            gradient; fewer have no trend that could be told from chance.
        least_steps: optimizer steps that these must span: a branch that starts near zero (LayerScale) moves by 1e-3 of its
            size per step, and has grown after 100.
        start: optimizer steps that weights which start at zero (modulations, a head) have to leave it, as for IM102.
    """

    code: ClassVar[str] = "IM202"
    name: ClassVar[str] = "vanishing-gradients"
    yields_to: ClassVar[tuple[str, ...]] = ("IM301", "IM401", "IM503", "IM604", "IM701")
    follows: ClassVar[tuple[str, ...]] = SIGNAL
    source: ClassVar[str] = (
        "He et al. 2015, 'Delving deep into rectifiers', Sec. 2.2; Kingma & Ba 2015, 'Adam' (its epsilon)"
    )

    warning_change: float = 2e5
    critical_change: float = 1e10
    blame_factor: float = BLAME_FACTOR
    least_layers: int = 4
    healthy_update: tuple[float, float] = HEALTHY_UPDATE
    even: float = 10.0
    near_epsilon: float = 10.0
    hopeless_update: float = 1e-6
    least_records: int = 8
    least_steps: int = 100
    start: int = 10

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding."""
        signal = signal_of(history.last, history.structure)
        started = history.last.step - history.records[0].step
        chains = segments(history.structure, through_normalisation=True)
        seen = [
            change
            for chain in chains
            if chain.depth >= self.least_layers
            and not (started < self.start and leaves_zero(chain, history))
            and (
                change := stopped(signal, chain, history)
                or gradient_change(signal, chain, self.warning_change, direction=-1)
            )
        ]
        if not seen:
            return
        worst = min(seen, key=lambda change: change.total)
        updates = updates_of(history.last, worst, self.healthy_update)
        underflow = _underflows(worst, signal, history)
        severity = self._severity(worst, updates, history, underflow=underflow)
        learning = learning_of(history)
        if severity is Severity.INFO and learning is Learning.LEVEL:
            severity = Severity.WARNING  # whatever the updates are, they had no effect, and this is why
        faint = history.structure.residuals and not worst.steady and not worst.silent
        if faint and severity > Severity.INFO and not self._lasts(history, worst.segment):
            # Behind a scale that starts near zero (LayerScale) the gradient is faint until training has raised it.
            severity = Severity.INFO
        faded = {number for number, chain in enumerate(chains) if any(change.segment is chain for change in seen)}
        if not worst.segment.meets <= faded:
            severity = min(severity, Severity.WARNING)  # the gradient arrives in another branch that begins next to it
        fault = GradientFault(worst, updates, severity, underflow, self.near_epsilon, learning)
        yield gradient_over_depth.finding(self, fault, history)

    def leaves(self, finding: Finding, other: Finding, structure: Structure) -> frozenset[str]:
        """Return the layers that another finding explains, judged by where their signal comes from."""
        return paths.explained(finding, other, structure)

    def _severity(self, change: GradientChange, updates: Updates, history: History, *, underflow: bool) -> Severity:
        if change.silent or underflow:
            return Severity.CRITICAL
        # A change at one place does not grow with depth: without updates that show it, it is not critical.
        severe = change.steady and -math.log(change.total) >= math.log(self.critical_change)
        by_norm = Severity.CRITICAL if severe else Severity.WARNING
        if math.isnan(updates.ratio):
            # Next to skip connections the chain is not the only path back: without updates the gradient is not known to be lost.
            return Severity.WARNING if history.structure.residuals else by_norm
        low, high = self.healthy_update
        epsilon = epsilon_of(history.last.optimizer) if history.last.optimizer else None
        if epsilon is None:
            starved = updates.ratio < self.hopeless_update and updates.elsewhere >= low
            return Severity.CRITICAL if starved else Severity.INFO if updates.even else by_norm
        if updates.rms < self.near_epsilon * epsilon:
            return Severity.CRITICAL if updates.rms * self.near_epsilon < epsilon else Severity.WARNING
        rescaled = 1 / self.even <= updates.ratio / (updates.elsewhere or math.inf) <= self.even
        return Severity.INFO if low <= updates.ratio <= high or rescaled else Severity.WARNING

    def _lasts(self, history: History, segment: Segment) -> bool:
        """Say whether the last records show it too, over as many steps as a branch may take to grow."""
        records = history.records[-self.least_records :]
        if len(records) < self.least_records or records[-1].step - records[0].step < self.least_steps:
            return False
        bar = math.log(self.warning_change)
        return all(change_over(signal_of(r, history.structure), segment, direction=-1) >= bar for r in records)


def _underflows(change: GradientChange, signal: Signal, history: History) -> bool:
    """Say whether the gradient of an affected float16 layer is so small that it becomes 0 where no loss scale lifts it."""
    rms = np.sqrt(signal.column(Quantity.GRADIENT_VARIANCE, change.segment))
    layers = change.segment.layers
    smallest = FORMATS["float16"].smallest
    return not history.last.loss_scaled and any(
        layers[i].dtype == "float16" and rms[i] < smallest for i in change.affected
    )
