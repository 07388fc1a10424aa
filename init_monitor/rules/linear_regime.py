"""IM302: rectifiers that act linearly, because each of their units saw one sign only, or because their slope is 1 on either side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from init_monitor.analysis import paths
from init_monitor.analysis.consequences import SIGNAL
from init_monitor.analysis.faint_arrival import faint_arrival
from init_monitor.analysis.rectifiers import (
    LEAST_SAMPLES,
    detectable_rate,
    ends_network,
    is_straight,
    rectifiers,
    weights_before,
)
from init_monitor.analysis.sample_shares import all_the_same
from init_monitor.records import Figure, Finding, Severity
from init_monitor.remedies import between_layers, made_by_training, phrases, snippets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.analysis.rectifiers import RectifierUnits
    from init_monitor.records import History, Layer, Structure

_SLOPE = (
    "Give these activations another slope below zero: nn.LeakyReLU(0.01, inplace=True). The first argument of LeakyReLU is that slope,"
    " where that of ReLU is inplace, and True counts as 1."
)

FADED = frozenset({"IM102", "IM702"})
"""Codes of findings about a signal that hardly arrives."""

UNFIT = "IM502"
"""The code of initial weights that are far off."""


@dataclass(frozen=True)
class LinearRegime:
    """IM302: units whose pre-activation had the same sign for every sample, so that the activation is linear for them.

    Both kinds count: units that are off (dead) and units that are always on. Where dead-relu (IM301) names a layer, at least as
    severely, this rule leaves it to that one. A clamp at zero of a network output that is always positive is not counted. A leaky
    rectifier whose slope below zero is 1 gives back whatever it receives: that is a warning at once.

    **Why.** For such a unit the activation does nothing, and a stack of such layers is one linear map.

    **Example.** 50 plain He-initialised layers: about 37 % at layer 20, 64 % at layer 50, before any training.

    **Remedy.** Centre what the layers receive: zero biases, standardised inputs, a normalisation before the activation;
    residual connections in deep networks. Where most units saw both signs at the first record: a smaller learning rate. Where
    something between two layers leaves so little of the signal that biases decide (a mean over padding): that.

    Attributes:
        info: share of dead plus all-positive units in a layer from which it is reported: 50 He-initialised layers reach 64 %, so
            this is worth knowing, not a fault.
        warning: the same for a warning: the layer is a linear map except for a tenth of its units.
        least_samples: positions per unit below which nothing is said, as for dead units.
    """

    code: ClassVar[str] = "IM302"
    name: ClassVar[str] = "linear-regime"
    yields_to: ClassVar[tuple[str, ...]] = ("IM102", "IM301", "IM502", "IM503", "IM604", "IM701", "IM702")
    follows: ClassVar[tuple[str, ...]] = SIGNAL
    source: ClassVar[str] = "Shao et al. 2020, 'Is normalization indispensable for training deep neural networks?', A.2"

    info: float = 0.50
    warning: float = 0.90
    least_samples: int = LEAST_SAMPLES

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most two warnings and one piece of information."""
        if straight := [layer for layer in history.structure.layers if is_straight(layer, history.structure)]:
            yield self._straight(straight, history)
        if all_the_same(history.last, history.structure):
            return
        seen = [
            units
            for units in rectifiers(history.last, history.structure, flat_below=False, least_samples=self.least_samples)
            if np.isfinite(units.all_positive)
            and units.layer.name not in history.covered
            and not (units.dead == 0 and ends_network(units.layer, history.structure))
        ]
        severe = [units for units in seen if units.one_sided >= self.warning]
        mild = [units for units in seen if self.info <= units.one_sided < self.warning]
        for severity, found in ((Severity.WARNING, severe), (Severity.INFO, mild)):
            if found:
                yield self._finding(severity, found, history)

    def leaves(self, finding: Finding, other: Finding, structure: Structure) -> frozenset[str]:
        """Return the layers that another finding explains, judged by where their signal comes from.

        Behind weights that let the signal fade, or are far too small for that not to come (IM502), biases are all that is left, and
        a bias has one sign.
        """
        if "slope" in finding.evidence:
            return frozenset()  # nothing that a signal does makes a slope
        gain = "gain_from_weights"
        small = other.code == UNFIT and other.evidence.get(gain, 1.0) < other.expected.get(gain, 0.0)
        if other.code in FADED or small:
            return frozenset(finding.layers) & paths.behind(other.layers, structure)
        return paths.explained(finding, other, structure)

    def _was_bent(self, layer: Layer, history: History) -> bool:
        """Say whether most units of a rectifier saw both signs at the first record, in however few samples."""
        first = rectifiers(history.records[0], history.structure, flat_below=False, least_samples=1)
        return any(units.layer.name == layer.name and units.one_sided < self.info for units in first)

    def _straight(self, layers: Sequence[Layer], history: History) -> Finding:
        names = [layer.shown for layer in layers]
        return Finding(
            rule=self.name,
            code=self.code,
            severity=Severity.WARNING,
            layers=tuple(layer.name for layer in layers),
            step=history.last.step,
            message=(
                f"The slope of {phrases.names(names)} is 1 below zero as it is above: what comes in goes out as it is, and the layers before"
                " and after are one linear map."
            ),
            evidence={"slope": Figure(1.0, "below zero")},
            expected={"slope": Figure(0.01, "by default")},
            remedy=_SLOPE,
            source="PyTorch documentation, torch.nn.LeakyReLU: its first argument is negative_slope",
        )

    def _finding(self, severity: Severity, found: Sequence[RectifierUnits], history: History) -> Finding:
        worst = max(found, key=lambda units: units.one_sided)
        samples = min(units.samples for units in found)
        layers = [units.layer for units in found]
        message = (
            f"{phrases.percent(worst.one_sided)} of the units of {worst.layer.name} saw only one sign in"
            f" {worst.samples:,.0f} samples ({phrases.percent(worst.dead)} only negative,"
            f" {phrases.percent(worst.all_positive)} only positive): for them the activation is linear."
        )
        if len(found) > 1:
            message += phrases.at_least_in({units.layer.name: units.one_sided for units in found})
        sentence = (
            "Centre what these layers receive: zero biases, standardised inputs, or a normalisation before the"
            " activation. In a deep network without skip connections depth alone causes this; residual connections help."
        )
        code = ""
        trained = self._was_bent(worst.layer, history)
        if trained:
            message += f" {made_by_training.told(history, direction=1, weights=False)}"
            sentence, _, code = made_by_training.remedy(history, direction=1).partition("\n\n")
        elif faint := faint_arrival(worst.layer, history.last, history.structure):
            message += f" {between_layers.told({0: faint})} Beside the little that arrives the biases decide."
            sentence = between_layers.remedy({0: faint})
        elif severity > Severity.INFO:
            weights = weights_before(layers, history.structure)
            code = snippets.initialise(weights, among=history.structure)
        return Finding(
            rule=self.name,
            code=self.code,
            severity=severity,
            layers=tuple(layer.name for layer in layers),
            step=history.last.step,
            message=message,
            evidence={
                "linear_fraction": Figure(worst.one_sided, "of the units"),
                "dead_fraction": Figure(worst.dead, "of the units"),
                "all_positive_fraction": Figure(worst.all_positive, "of the units"),
                "samples": Figure(samples, "samples per unit"),
                "detectable_rate": Figure(detectable_rate(samples), "of the samples"),
            },
            expected={
                "linear_fraction": Figure(self.info, "of the units, or less"),
                "samples": Figure(self.least_samples, "samples per unit, or more"),
            },
            remedy=snippets.advice(sentence, code),
            source=self.source,
        )
