"""IM301: units whose rectifier is always off."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from init_monitor.analysis import paths
from init_monitor.analysis.consequences import SIGNAL, reaches
from init_monitor.analysis.learning import LONG, learns_well, sureness
from init_monitor.analysis.pace import judged_weights
from init_monitor.analysis.rectifiers import (
    LEAST_SAMPLES,
    detectable_rate,
    ends_network,
    feeding,
    norms_before,
    rectifiers,
    weights_before,
)
from init_monitor.analysis.sample_shares import all_the_same
from init_monitor.analysis.slowness import TRAVELLED, way_of
from init_monitor.records import Figure, Finding, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import made_by_training, phrases, snippets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.analysis.rectifiers import RectifierUnits
    from init_monitor.records import History, Layer, StepRecord, Structure


LEAKY = "If the units die again, use an activation that lets negative inputs pass (LeakyReLU)."


GROWTH = ("IM101", "IM201", "IM401", "IM502", "IM603")
"""Codes of signals, gradients and steps that grow. With zero biases a rectifier fires as often whatever the scale of its input, so
what is off before the first step was not switched off by these."""


@dataclass(frozen=True)
class DeadReLU:
    """IM301: units of a rectifier that no sample of the window switched on.

    Judged per unit over the window, never from the share of zeros: a layer can be 96 % zeros with no dead unit. Where
    as many units are only positive as are only negative, it is the linear regime (IM302) that comes with depth. A rectifier between the
    last layer and a cross-entropy is told by the share of its zeros, in a run that does not learn well.

    **Why.** No gradient reaches the weights of such a unit: it cannot come back by itself, and its capacity is lost.

    **Example.** A bias of −10 after a too large step: the layer outputs zeros for every sample.

    **Remedy.** Re-initialise the layers with a zero bias and use a smaller learning rate; where the units fired before, only
    the latter; if they die again, an activation that lets negative inputs pass.

    Attributes:
        warning: share of dead units in a layer from which it is a warning. A He-initialised 50-layer network has about 32 %
            all-negative units at its end (Shao et al. 2020, Fig. 3a, measured again), and is healthy.
        critical: the same for critical: four fifths of the layer's capacity are gone. A layer that is dead as a whole is always
            critical, as soon as a thousand of its elements were seen. Rectifiers behind it that receive the same for every sample
            are not mentioned.
        least_samples: positions per unit from which the share that was seen is taken as it is. A unit never seen active in n
            samples is active in fewer than 3/n of them at 95 % confidence: 0.3 % of a thousand. With fewer samples the share
            that is certain by then (95 %, pooled over the layer) counts: units that merely fire rarely show up by falling silent
            between the two halves of the window.
        chance_deviations: standard deviations by which dead units must outnumber all-positive ones. With zero-mean weights
            a one-sided unit is as likely on either side, so that depth alone brings both in equal numbers (measured on
            He-initialised layers of width 512 behind 1024 samples: 38 % and 38 %).
        matched: share of the dead units that the all-positive ones must reach for chance to explain them: in a small
            layer, three standard deviations excuse everything.
        few: dead units below which a share says nothing, unless it is the whole layer: of three units two or more are off
            with probability 16 % if each is off with probability 25 %.
        cut: share of the logits that a rectifier behind the last layer sets to 0, from which it is told where a cross-entropy does not
            learn well: half, as zero-mean logits have it. It is told whichever units they are.
        records: sampled steps in a row that must show that.
        rounding: part of a gradient's mean square that rounding leaves of a mean that is 0, as that of a cross-entropy is.
        centred: mean of an input over its standard deviation up to which it switches no unit off before the first step: with
            zero-mean weights the mean of a unit over its own standard deviation is that ratio times a standard normal number,
            and a unit whose mean is -0.1 of it fires on 46 % of the samples.
        alike: share of the variance that lies between samples up to which what a rectifier receives is the same for all of
            them: rounding alone leaves 1e-7. Each step then shows a unit one sample, however often, and half of the units have
            never seen it above 0: only a layer that is off as a whole is told.
        one_sided: share of units that saw one sign only at the first record, from which the signs are those of biases and of what all
            samples share (behind a narrow code, say), as in IM302: half of the units are then off, give or take
            ``chance_deviations`` · ½/√units. Nothing is said of them as long as no more have gone off since.
    """

    code: ClassVar[str] = "IM301"
    name: ClassVar[str] = "dead-relu"
    yields_to: ClassVar[tuple[str, ...]] = ("IM503", "IM604", "IM701")
    follows: ClassVar[tuple[str, ...]] = SIGNAL
    source: ClassVar[str] = "Shao et al. 2020, 'Is normalization indispensable for training deep neural networks?', A.2"

    warning: float = 0.35
    critical: float = 0.80
    least_samples: int = LEAST_SAMPLES
    chance_deviations: float = 3.0
    matched: float = 1 / 3
    few: int = 4
    cut: float = 0.5
    records: int = 3
    rounding: float = 1e-6
    centred: float = 0.1
    alike: float = 1e-6
    one_sided: float = 0.9

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one critical finding and one warning."""
        if all_the_same(history.last, history.structure):
            return
        seen = [
            units
            for units in rectifiers(
                history.last, history.structure, flat_below=True, least_samples=self.least_samples, pooled=True
            )
            if not units.by_chance(deviations=self.chance_deviations, matched=self.matched)
            and (units.dead >= 1 or not units.dead * units.units < self.few)
        ]
        seen = [units for units in seen if units.dead >= 1 or not _sees_one_sample(units, history, self.alike)]
        seen = [units for units in seen if units.dead >= 1 or not self._began_one_sided(units, history)]
        seen = _without_those_behind(seen, history, self.alike)
        severe = [units for units in seen if units.at_least >= min(self.critical, 1.0) or self._is_off(units)]
        mild = [units for units in seen if units not in severe and units.at_least >= self.warning]
        for severity, found in ((Severity.CRITICAL, severe), (Severity.WARNING, mild)):
            if found:
                yield self._finding(severity, found, history)

        if not severe and not mild:
            yield from self._rectified_logits(history)

    def _rectified_logits(self, history: History) -> Iterator[Finding]:
        """Return the finding about a rectifier between the last layer and a cross-entropy that has not learned well for it."""
        recent = history.records[-self.records :]
        if history.last.step < LONG or len(recent) < self.records or learns_well(history):
            return
        for layer in history.structure.layers:
            head = feeding(layer, history.structure) if layer.flat_below else None
            if head is None or layer.role is not Role.ACTIVATION or not ends_network(layer, history.structure):
                continue
            if all(self._is_cut(layer, head, record) for record in recent) and _starts_by_guessing(head, history):
                yield self._about_logits(layer, head, history)

    def _is_cut(self, layer: Layer, head: Layer, record: StepRecord) -> bool:
        table = record.layer_table
        square, variance = (
            table.at(layer.name, q) for q in (Quantity.GRADIENT_MEAN_SQUARE, Quantity.GRADIENT_VARIANCE)
        )
        # Over the classes the gradient of a cross-entropy adds up to 0; no element of it is above the share of its row.
        softmax = (
            0 <= square - variance <= self.rounding * square
            and sureness(replace(head, name=layer.name), record) <= 1 + self.rounding
        )
        return softmax and table.at(layer.name, Quantity.ZERO_FRACTION) >= self.cut

    def _about_logits(self, layer: Layer, head: Layer, history: History) -> Finding:
        zeros = history.last.layer_table.at(layer.name, Quantity.ZERO_FRACTION)
        return Finding(
            rule=self.name,
            code=self.code,
            severity=Severity.WARNING,
            layers=(layer.name,),
            step=history.last.step,
            message=(
                f"{layer.shown} is on the logits that {head.shown} makes: {phrases.percent(zeros)} of them are 0. A logit has to be able"
                " to be negative, and where it is 0 no gradient comes back: a class that is off for its own samples is never"
                " predicted again."
            ),
            evidence={"zero_fraction": Figure(zeros, "of the logits")},
            expected={"zero_fraction": Figure(0.0, "of the logits")},
            remedy=f"Take this activation away: hand the output of {head.shown} to the cross-entropy as it is.",
            source=self.source,
        )

    def _began_one_sided(self, units: RectifierUnits, history: History) -> bool:
        """Say whether units are off since a start at which hardly any saw both signs, as many as a coin would switch off, or fewer now."""
        began = history.records[0]
        dead, positive = (
            began.layer_table.at(units.layer.name, q) for q in (Quantity.DEAD_FRACTION, Quantity.ALL_POSITIVE_FRACTION)
        )
        by_chance = 0.5 + self.chance_deviations * 0.5 / math.sqrt(max(units.units, 1.0))
        return began.step == 0 and dead + positive >= self.one_sided and units.dead <= dead <= by_chance

    def _is_off(self, units: RectifierUnits) -> bool:
        """Say whether a whole layer is off: none of so many elements of it was on, however few each unit has."""
        return units.dead >= 1 and units.units * units.samples >= self.least_samples

    def leaves(self, finding: Finding, other: Finding, structure: Structure) -> frozenset[str]:
        """Return the layers that another finding explains, judged by where their signal comes from.

        The scale of a centred input switches no unit off before the first step.
        """
        independent = self._since_the_start(finding) and self._only_makes_larger(other)
        return frozenset() if independent else paths.explained(finding, other, structure)

    def comes_of(self, finding: Finding, cause: Finding, structure: Structure) -> bool:
        """Say whether another finding is the cause: not of what was off before the first step, where that one is about growth."""
        return not (self._since_the_start(finding) and self._only_makes_larger(cause)) and reaches(
            finding, cause, structure
        )

    def _only_makes_larger(self, cause: Finding) -> bool:
        """Say whether a finding is about something that grows, or about an input that is too large but centred."""
        centred = abs(cause.evidence.get("input_mean", math.inf)) <= self.centred * cause.evidence.get("input_std", 0.0)
        return cause.code in GROWTH or (cause.code == paths.INPUT_SCALE and centred)

    def _since_the_start(self, finding: Finding) -> bool:
        at_first = finding.evidence["dead_fraction"] if finding.step == 0 else 0.0
        return finding.evidence.get("at_first", at_first) >= self.warning

    def _finding(self, severity: Severity, found: Sequence[RectifierUnits], history: History) -> Finding:
        worst = max(found, key=lambda units: units.dead)
        samples = min(units.samples for units in found)
        layers = [units.layer for units in found]
        evidence = {
            "dead_fraction": Figure(worst.dead, "of the units"),
            "samples": Figure(samples, "samples per unit"),
            "detectable_rate": Figure(detectable_rate(samples), "of the samples"),
        }
        if np.isfinite(worst.zeros):
            evidence["zero_fraction"] = Figure(worst.zeros, "of the elements")
        first = history.records[0].layer_table.at(worst.layer.name, Quantity.DEAD_FRACTION)
        if history.records[0].step == 0 < history.last.step and first >= self.warning:
            evidence["at_first"] = Figure(first, f"of the units, over the samples of step {history.records[0].step}")
        if not math.isnan(worst.at_least) and worst.at_least < worst.dead:
            evidence["dead_at_least"] = Figure(worst.at_least, "of the units, with 95 % confidence")
        message = _message(worst, found, history)
        fired = self._fired(worst, history)
        if fired is not None:
            message += f" At step {fired.step} they fired: updates that were too large switched them off."
            remedy, _, code = made_by_training.remedy(history, direction=1).partition("\n\n")
            remedy = snippets.advice(f"{remedy} {LEAKY}", code)
        else:
            sentence = (
                "Re-initialise the layers before these activations with a zero bias, and use a smaller learning rate."
                f" {LEAKY}"
            )
            code = snippets.together(
                snippets.initialise(weights_before(layers, history.structure), among=history.structure),
                snippets.initialise(norms_before(layers, history.structure), among=history.structure),
            )
            remedy = snippets.advice(sentence, code)
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
                "samples": Figure(self.least_samples, "samples per unit, or more"),
            },
            remedy=remedy,
            source=self.source,
        )

    def _fired(self, worst: RectifierUnits, history: History) -> StepRecord | None:
        """Return the first record at which most of the dead units fired; ``None`` if there is none.

        The very first sees too few samples, and so overstates dead units. Weights that have hardly moved did not switch them off.
        """
        if 0 < way_of(history, judged_weights(history)) < TRAVELLED:
            return None
        earlier = (record for record in history.records if record.step < history.last.step)
        name = worst.layer.name
        return next((one for one in earlier if one.layer_table.at(name, Quantity.DEAD_FRACTION) < worst.dead / 2), None)


def _starts_by_guessing(head: Layer, history: History) -> bool:
    """Say whether the first loss is about that of guessing among the outputs of a layer, ln C."""
    first = history.records[0]
    guess = math.log(head.fan_out) if head.fan_out > 1 else math.nan
    return first.step == 0 and guess / 2 <= first.loss <= 2 * guess


def _without_those_behind(seen: Sequence[RectifierUnits], history: History, alike: float) -> list[RectifierUnits]:
    """Leave out the rectifiers that get the same for every sample because one before them is off altogether."""
    off = [units.layer for units in seen if units.dead >= 1]
    if not off:
        return list(seen)
    reached = paths.behind([min(off, key=lambda layer: layer.depth).name], history.structure)

    def follows(units: RectifierUnits) -> bool:
        above = units.layer.depth > min(layer.depth for layer in off) and units.layer.name in reached
        return above and _sees_one_sample(units, history, alike)

    return [units for units in seen if not follows(units)]


def _sees_one_sample(units: RectifierUnits, history: History, alike: float) -> bool:
    """Say whether what a rectifier receives was the same for every sample of a step, in at least half of the window."""
    fed = feeding(units.layer, history.structure)
    if fed is None:
        return False
    known = [record.layer_table for record in history.records if fed.name in record.names]
    # What is one number throughout has no variance that a share could be of.
    same = sum(
        table.at(fed.name, Quantity.BETWEEN_SAMPLE_SHARE) <= alike or table.at(fed.name, Quantity.VARIANCE) == 0
        for table in known
    )
    return 2 * same >= max(1, len(known))


def _message(worst: RectifierUnits, found: Sequence[RectifierUnits], history: History) -> str:
    fed = feeding(worst.layer, history.structure)
    message = (
        f"{phrases.percent(worst.dead)} of the units of {worst.layer.name}"
        f"{f', fed by {fed.name},' if fed and fed.name != worst.layer.name else ''} are dead: their"
        f" {worst.layer.kind} gave 0 for each of {worst.samples:,.0f} samples,"
        " so their weights get no gradient."
    )
    if worst.dead >= 1:
        message += " Nothing passes this layer."
    if len(found) > 1:
        message += phrases.at_least_in({units.layer.name: units.dead for units in found})
    return message
