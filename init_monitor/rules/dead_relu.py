"""IM301 and IM302: units whose rectifier is always off, or never bends the signal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from init_monitor.records import Figure, Finding, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases, snippets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from init_monitor.records import History, Layer, StepRecord, Structure

LEAST_SAMPLES = 1000
"""Positions per unit below which nothing is said. A unit never seen active in n samples is active in fewer than 3/n of
them at 95 % confidence (the rule of three): 0.3 % here."""

RULE_OF_THREE = 3.0

DEAD_WARNING = 0.35
"""Share of dead units. A He-initialised 50-layer network has about 32 % all-negative units at its end (Shao et al.
2020, Fig. 3a, measured again), and is healthy: less than that is no fault."""

DEAD_CRITICAL = 0.80
"""Share of dead units: four fifths of the layer's capacity are gone."""

CHANCE_DEVIATIONS = 3.0
"""Standard deviations by which dead units must outnumber all-positive ones. With zero-mean weights a one-sided unit is
as likely on either side, so that depth alone brings both in equal numbers (measured on He-initialised layers of width
512 behind 1024 samples: 38 % and 38 %): that is the linear regime, not the fault this rule is about."""

MATCHED = 1 / 3
"""All-positive units must come to at least this share of the dead ones to speak for chance: in a small layer, three
standard deviations excuse everything."""

LINEAR_INFO = 0.50
"""Share of units in the linear regime: 50 He-initialised layers reach 64 %, so this is worth knowing, not a fault."""

LINEAR_WARNING = 0.90
"""Share of units in the linear regime: the layer is a linear map but for a tenth of its units."""

SOURCE = "Shao et al. 2020, 'Is normalization indispensable for training deep neural networks?', A.2"


class _Share(NamedTuple):
    """One rectifier: the share of its units that the rule is about, and what stands behind it."""

    layer: Layer
    share: float
    dead: float
    all_positive: float
    zeros: float
    samples: float
    units: float

    @property
    def by_chance(self) -> bool:
        """Say whether as many units are only positive as are only negative, which is no fault of their own."""
        if not self.all_positive >= MATCHED * self.dead or not self.units > 0:
            return False
        one_sided = (self.dead + self.all_positive) / self.units
        return self.dead - self.all_positive <= CHANCE_DEVIATIONS * math.sqrt(one_sided)


def _rectifiers(record: StepRecord, structure: Structure, *, flat_below: bool) -> Iterator[_Share]:
    """Yield the rectifiers that were seen often enough, with their share of dead units."""
    known = structure.by_name()
    dead, positive = record.column(Quantity.DEAD_FRACTION), record.column(Quantity.ALL_POSITIVE_FRACTION)
    zeros, samples = record.column(Quantity.ZERO_FRACTION), record.column(Quantity.UNIT_SAMPLES)
    units = record.column(Quantity.UNIT_COUNT)
    for i, name in enumerate(record.names):
        layer = known.get(name)
        wanted = layer is not None and (layer.flat_below if flat_below else layer.piecewise_linear)
        if layer is None or not wanted or not np.isfinite(dead[i]) or not samples[i] >= LEAST_SAMPLES:
            continue
        yield _Share(layer, *(float(x[i]) for x in (dead, dead, positive, zeros, samples, units)))


def _feeding(layer: Layer, structure: Structure) -> Layer | None:
    """Return the weight layer whose output a rectifier receives: by provenance, else the last one that ran before."""
    known = structure.by_name()
    at: Layer | None = layer
    while at is not None and at.role is not Role.WEIGHT:
        fed = [known[name] for name in at.inputs if name in known and known[name].depth < at.depth]
        if not fed:
            earlier = [x for x in structure.layers if x.role is Role.WEIGHT and x.depth < at.depth]
            return max(earlier, key=lambda x: x.depth, default=None)
        at = max(fed, key=lambda x: x.depth)
    return at


def _weights_before(layers: Iterable[Layer], structure: Structure) -> list[Layer]:
    return [fed for layer in layers if (fed := _feeding(layer, structure)) is not None]


def _norms_before(layers: Iterable[Layer], structure: Structure) -> list[Layer]:
    """Return the normalisations between these rectifiers and the weight layers that feed them: they may shift them off."""
    known = structure.by_name()
    norms: dict[str, Layer] = {}
    open_layers = list(layers)
    while open_layers:
        for name in open_layers.pop().inputs:
            fed = known.get(name)
            if fed is not None and fed.role is not Role.WEIGHT and fed.name not in norms:
                open_layers.append(fed)
                if fed.role is Role.NORMALISATION:
                    norms[fed.name] = fed
    return [layer for layer in norms.values() if layer.weight]


def _elsewhere(found: list[_Share]) -> str:
    least = phrases.percent(min(s.share for s in found))
    return f" In {phrases.names([s.layer.name for s in found])} it is at least {least}."


@dataclass(frozen=True)
class DeadReLU:
    """IM301: units that no sample of the window switched on; no gradient reaches their weights.

    Judged per unit over the window, never from the share of zeros: a layer can be 96 % zeros with no dead unit. Where
    as many units are only positive as are only negative, it is the linear regime (IM302) that comes with depth.

    Attributes:
        warning: share of dead units in a layer from which it is a warning.
        critical: the same for critical; a whole layer is always critical.
    """

    code: ClassVar[str] = "IM301"
    name: ClassVar[str] = "dead-relu"

    warning: float = DEAD_WARNING
    critical: float = DEAD_CRITICAL

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one critical finding and one warning."""
        shares = [s for s in _rectifiers(history.last, history.structure, flat_below=True) if not s.by_chance]
        severe = [s for s in shares if s.share >= min(self.critical, 1.0)]
        mild = [s for s in shares if self.warning <= s.share < min(self.critical, 1.0)]
        for severity, found in ((Severity.CRITICAL, severe), (Severity.WARNING, mild)):
            if found:
                yield self._finding(severity, found, history)

    def _finding(self, severity: Severity, found: list[_Share], history: History) -> Finding:
        worst = max(found, key=lambda s: s.share)
        samples = min(s.samples for s in found)
        layers = [s.layer for s in found]
        weights = _weights_before(layers, history.structure)
        fed = _feeding(worst.layer, history.structure)
        message = (
            f"{phrases.percent(worst.share)} of the units of {worst.layer.name}"
            f"{f', fed by {fed.name},' if fed and fed.name != worst.layer.name else ''} are dead: their"
            f" {worst.layer.activation or worst.layer.kind} gave 0 for each of {worst.samples:,.0f} samples,"
            " so their weights get no gradient."
        )
        if worst.share >= 1:
            message += " Nothing passes this layer."
        if len(found) > 1:
            message += _elsewhere(found)
        evidence = {
            "dead_fraction": Figure(worst.share, "of the units"),
            "samples": Figure(samples, "samples per unit"),
            "detectable_rate": Figure(RULE_OF_THREE / samples, "of the samples"),
        }
        if np.isfinite(worst.zeros):
            evidence["zero_fraction"] = Figure(worst.zeros, "of the elements")
        sentence = (
            "Initialise the layers before these activations anew with a zero bias and take a smaller learning rate; if"
            " the units die again, use an activation that lets negative inputs pass (LeakyReLU)."
        )
        code = snippets.together(
            snippets.initialise(weights, among=history.structure.layers),
            snippets.initialise(_norms_before(layers, history.structure), snippets.ONE),
        )
        return Finding(
            rule=self.name,
            code=self.code,
            severity=severity,
            layers=tuple(layer.name for layer in layers),
            step=history.last.step,
            message=message,
            evidence=evidence,
            expected={
                "dead_fraction": Figure(self.warning, "of the units, or less"),
                "samples": Figure(LEAST_SAMPLES, "samples per unit, or more"),
            },
            remedy=snippets.advice(sentence, code),
            source=SOURCE,
        )


@dataclass(frozen=True)
class LinearRegime:
    """IM302: units whose pre-activation had one sign for every sample, so that the activation bends nothing.

    Attributes:
        info: share of dead plus all-positive units in a layer from which it is told.
        warning: the same for a warning.
    """

    code: ClassVar[str] = "IM302"
    name: ClassVar[str] = "linear-regime"

    info: float = LINEAR_INFO
    warning: float = LINEAR_WARNING

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one warning and one piece of information."""
        shares = [
            s._replace(share=round(s.dead + s.all_positive, 12))  # 0.3 + 0.6 is 0.9
            for s in _rectifiers(history.last, history.structure, flat_below=False)
            # Where nearly all of it is dead units, dead-relu says it better.
            if np.isfinite(s.all_positive) and (s.dead < DEAD_WARNING or s.all_positive >= MATCHED * s.dead)
        ]
        severe = [s for s in shares if s.share >= self.warning]
        mild = [s for s in shares if self.info <= s.share < self.warning]
        for severity, found in ((Severity.WARNING, severe), (Severity.INFO, mild)):
            if found:
                yield self._finding(severity, found, history)

    def _finding(self, severity: Severity, found: list[_Share], history: History) -> Finding:
        worst = max(found, key=lambda s: s.share)
        samples = min(s.samples for s in found)
        layers = [s.layer for s in found]
        weights = _weights_before(layers, history.structure)
        message = (
            f"{phrases.percent(worst.share)} of the units of {worst.layer.name} saw only one sign in"
            f" {worst.samples:,.0f} samples ({phrases.percent(worst.dead)} only negative,"
            f" {phrases.percent(worst.all_positive)} only positive): for them the activation is a straight line."
        )
        if len(found) > 1:
            message += _elsewhere(found)
        sentence = (
            "Centre what these layers receive: zero biases, standardised inputs, or a normalisation before the"
            " activation. In a deep plain network this comes with depth; residual connections help."
        )
        return Finding(
            rule=self.name,
            code=self.code,
            severity=severity,
            layers=tuple(layer.name for layer in layers),
            step=history.last.step,
            message=message,
            evidence={
                "linear_fraction": Figure(worst.share, "of the units"),
                "dead_fraction": Figure(worst.dead, "of the units"),
                "all_positive_fraction": Figure(worst.all_positive, "of the units"),
                "samples": Figure(samples, "samples per unit"),
                "detectable_rate": Figure(RULE_OF_THREE / samples, "of the samples"),
            },
            expected={
                "linear_fraction": Figure(self.info, "of the units, or less"),
                "samples": Figure(LEAST_SAMPLES, "samples per unit, or more"),
            },
            remedy=snippets.advice(sentence, snippets.initialise(weights, among=history.structure.layers))
            if severity > Severity.INFO
            else sentence,
            source=SOURCE,
        )
