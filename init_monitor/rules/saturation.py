"""IM303: bounded activations pushed beyond their knee, where hardly any gradient passes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from init_monitor.analysis import paths
from init_monitor.analysis.bounded import Reading, bounds_of, bounds_of_tanh, is_distribution, is_fresh
from init_monitor.analysis.consequences import SIGNAL
from init_monitor.analysis.gradient_flow import parameters_of
from init_monitor.analysis.learning import CLEAR, LONG, course_of
from init_monitor.analysis.recurrent import driven
from init_monitor.records import Figure, Finding, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import bounded_outputs, lost_game, outsized_loss, phrases
from init_monitor.remedies.saturated import Saturated, behind_a_factor, message, remedy, remedy_of_driven
from init_monitor.remedies.shut_gates import told_shut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.records import History, Layer, Structure


ATTENTION_SOURCE = "Vaswani et al. 2017, 'Attention is all you need', 3.2.1"


@dataclass(frozen=True)
class Saturation:
    """IM303: most of a bounded activation's outputs lie beyond its knee, so that the gradient is lost there.

    The knee is where the derivative is a twentieth of its largest. A network that starts like that has weights or inputs of
    the wrong scale; from which share of the elements on that is a warning, or critical, depends on the activation and stands
    in the table of activations (``init_monitor.analysis.activations``). One that gets there later had steps that were too
    large. The layer named is the one that feeds the activation; for a softmax without one, the module (an attention) that
    calls it. What a network started with is taken back to information once its loss has left the start behind, unless no gradient at all passes still.

    **Why.** No gradient passes there: what feeds the activation cannot correct it. A gate, an attention or the output of the
    network may become this sharp by learning and is left alone, unless nothing passes it and the loss is not below its start; so is a gate that starts open by its bias, and a network whose
    normalisations show that it was trained before. The sigmoid of a judge (a GAN's discriminator) is named where the player who learns through it
    has lost by it. A recurrent layer is named where its biases shut gates with nothing in return.

    **Example.** ``nn.init.normal_(weight)`` before tanh: pre-activations of rms 10 and more, 83 % beyond the knee. Attention of
    64 dimensions without the 1/√64: a fifth of the rows look at one place only, before anything was learned.

    **Remedy.** From the start: Xavier's variance and a zero bias in the layer before, standardised inputs, or the missing
    1/√d. Made by training: a smaller learning rate, a clipped gradient.

    Attributes:
        start: optimizer steps: a saturation seen in a record this early is one the network started with.
        distribution: share of distributions with 99 % on one class from which a softmax *inside* a network is a warning at
            the start. Logits of standard deviation 8, a dot product of 64 unscaled dimensions, give 17 % to 25 % over 128 to
            32 places; those of standard deviation 1 give none (Vaswani et al. 2017, 3.2.1).
        distribution_at_the_end: the same for the softmax that ends a network, whose loss still sends a gradient to the wrong
            class: ten classes whose logits have a standard deviation of 11, and a first loss of about 17 where ln 10 = 2.3
            is what knows nothing.
        by_weights: an activation that scales or ends a network may start far out by its bias (a forget gate, a rare class):
            it counts only if its input also varies, with a standard deviation of this part of the knee.
        late_share: share of saturated elements that training is not allowed to make. A tanh network that learned its task
            perfectly in 2,000 steps of Adam at 1e-2 reached 80 %; those that steps too large had ended were at 87 % to 100 %
            within ten.
        late_passing: part of the gradient's mean square (of what can pass at all) that must not pass any more besides: 7 %
            did in the healthy one, 5 % and less in the others.
        late_reach: and the rms of the pre-activations, in knees: 2.7 in the healthy one, 4 to 40 in the others. What is meant
            to be at the edge (an image of black and white) has no reason to go further.
        late_records: sampled steps in a row that must show it: one may be an odd batch.
        bound_share: share of an *output's* elements at its bound from which targets lie beyond it, if the loss is far too large for
            targets within and has not fallen.
        error_left: part of the first squared error from which an output that went to its bound is pulled beyond it. Elements whose
            targets lie within have no error at the bound; of the others, at most 15 %, an error as at the start is 15 % of it.
        nothing_passes: part of the gradient's mean square below which late saturation is critical: an update of a hundredth.
    """

    code: ClassVar[str] = "IM303"
    name: ClassVar[str] = "saturation"
    yields_to: ClassVar[tuple[str, ...]] = ("IM304", "IM401", "IM501", "IM503", "IM604", "IM701")
    follows: ClassVar[tuple[str, ...]] = SIGNAL
    source: ClassVar[str] = (
        "Glorot & Bengio 2010, 'Understanding the difficulty of training deep feedforward neural networks', section 3"
    )

    start: int = 10
    distribution: float = 0.15
    distribution_at_the_end: float = 0.5
    by_weights: float = 0.5
    late_share: float = 0.85
    late_passing: float = 0.05
    late_reach: float = 3.5
    late_records: int = 3
    bound_share: float = 0.8
    error_left: float = 0.25
    nothing_passes: float = 1e-4

    def judge(self, history: History) -> Iterator[Finding]:
        """Return what the network started with, and what training made, each at most once, and a finding per recurrent layer."""
        structure = history.structure
        end = max((layer.depth for layer in structure.layers if layer.role is Role.WEIGHT), default=-1)
        first, last = (Reading(record, structure) for record in (history.records[0], history.last))
        early = history.records[0].step < self.start and is_fresh(history.records[0], structure)
        recent = [Reading(record, structure) for record in history.records[-self.late_records :]]
        places: list[Saturated] = []
        for layer in self._above_the_least_bar(last, structure):
            ends = layer.depth > end
            severity = self._start(layer, (first, last), ends=ends) if early else None
            late = severity is None and not is_distribution(layer)
            if late:
                severity = self._late(layer, recent)
                if ends and severity is not None:
                    if self._is_pulled_on(layer, first, recent):
                        yield bounded_outputs.pulled_on(self, layer, (first, last), history)
                        continue
                    severity = (
                        severity if severity is Severity.CRITICAL and self._is_stuck(layer, first, history) else None
                    )
            if severity is None and ends and self._is_out_of_reach(layer, recent, history):
                yield bounded_outputs.out_of_reach(self, layer, last, history)
            if severity is not None:
                places.append(_place(layer, last, severity, late=late))
        yield from lost_game.found(self, history)
        if early:
            yield from self._driven(history)
            yield from told_shut(self, history)
        for late in (False, True):
            if found := [place for place in places if place.late is late]:
                yield self._finding(found, last, history)

    def _driven(self, history: History) -> Iterator[Finding]:
        """Return the findings about recurrent layers whose gates the input alone drives beyond their knees from the start."""
        bounds = bounds_of_tanh()
        for first in driven(history.records[0], history.structure):
            share = first.beyond(bounds.knee)
            if not share >= bounds.warning:
                continue
            name = first.layer.module
            yield Finding(
                rule=self.name,
                code=self.code,
                severity=Severity.WARNING,
                layers=(first.layer.name,),
                step=history.last.step,
                message=(
                    f"What {name} ({first.layer.kind}) receives has an rms of {phrases.number(first.received)}, which drives its gates to an rms of"
                    f" {phrases.number(first.rms)} from the start: {phrases.percent(share)} of what goes into its tanh lies beyond"
                    f" {phrases.number(bounds.knee)}, and its gates are shut or open whatever it remembers."
                ),
                evidence={
                    "saturated_fraction": Figure(share, "of the elements, by the size of input and weights"),
                    "input_rms": Figure(first.received),
                },
                expected={
                    "saturated_fraction": Figure(bounds.warning, "of the elements, or less"),
                    "input_rms": Figure(first.received * bounds.knee / first.rms, "or less"),
                },
                remedy=remedy_of_driven(first, history),
                source=self.source,
            )

    def _above_the_least_bar(self, last: Reading, structure: Structure) -> Iterator[Layer]:
        """Yield the activations of which anything may be said."""
        bars: dict[str, float] = {}
        shares = last.record.layer_table.by_name(Quantity.SATURATED_FRACTION)
        for layer in structure.layers:
            if layer.role is not Role.ACTIVATION:
                continue
            if layer.kind not in bars:
                bars[layer.kind] = self._least_bar(layer)
            # Without the rows that a mask leaves one position the share is no larger.
            if shares.get(layer.name, math.nan) >= bars[layer.kind] <= last.share(layer):
                yield layer

    def _least_bar(self, layer: Layer) -> float:
        """Return the saturated share below which nothing is said of a layer, whatever else is known of it."""
        if is_distribution(layer):
            return min(self.distribution, self.distribution_at_the_end)
        return min(bounds_of(layer).warning, self.late_share, self.bound_share)

    def leaves(self, finding: Finding, other: Finding, structure: Structure) -> frozenset[str]:
        """Return the layers that another finding explains, judged by where their signal comes from.

        What is said of an attention's logits (IM304) explains the softmax in the same module.
        """
        if other.code == "IM304":
            inside = {name for name in finding.layers if any(one.startswith(f"{name}.") for one in other.layers)}
            return frozenset(inside) | paths.explained(finding, other, structure)
        return paths.explained(finding, other, structure)

    def is_about_start(self, finding: Finding) -> bool:
        """Say whether a finding is about what the network started with: a run that learns well has left that behind.

        Not so attention that is still told, however well the rest of the network does without it.
        """
        return "records" not in finding.evidence and finding.source != ATTENTION_SOURCE

    def outlasts(self, finding: Finding, history: History) -> bool:
        """Say whether no gradient at all passes still, so that what comes before cannot learn: the loss falls by what comes behind."""
        known, parameters = history.structure.by_name(), history.last.parameter_table
        own = {name for n in finding.layers if n in known for name in parameters_of(known[n])}
        meant = any(parameters.at(name, Quantity.TRAINABLE) == 1 for name in own)
        return finding.evidence.get("gradient_passing", math.nan) == 0 and meant

    def _is_out_of_reach(self, layer: Layer, recent: Sequence[Reading], history: History) -> bool:
        """Say whether an output is at its bound for nearly all, and the loss is too large for targets within and does not fall."""
        if is_distribution(layer) or len(recent) < self.late_records or not outsized_loss.first_loss(history):
            return False
        if not all(reading.share(layer) >= self.bound_share for reading in recent[-2:]):
            return False
        course = course_of(history.losses)
        return course.known >= LONG and course.fall < CLEAR

    def _start(self, layer: Layer, readings: Sequence[Reading], *, ends: bool) -> Severity | None:
        shares = [reading.share(layer) for reading in readings]
        share = math.nan if any(map(math.isnan, shares)) else min(shares)
        if is_distribution(layer):
            bar = self.distribution_at_the_end if ends else self.distribution
            return Severity.WARNING if share >= bar else None
        bounds, reading = bounds_of(layer), readings[-1]
        if not share >= bounds.warning:
            return None
        if reading.is_read(layer):
            return Severity.CRITICAL if share >= bounds.critical else Severity.WARNING
        spread = reading.root(layer, Quantity.VARIANCE)
        return None if spread < self.by_weights * bounds.knee else Severity.WARNING

    def _late(self, layer: Layer, recent: Sequence[Reading]) -> Severity | None:
        if len(recent) < self.late_records or not all(reading.share(layer) >= self.late_share for reading in recent):
            return None
        passing = [reading.passing(layer) for reading in recent]
        known = [value for value in passing if not math.isnan(value)]
        reach = recent[-1].root(layer, Quantity.MEAN_SQUARE) / bounds_of(layer).knee
        if not known or max(known) > self.late_passing or reach < self.late_reach:
            return None
        return Severity.CRITICAL if max(known) < self.nothing_passes else Severity.WARNING

    def _is_stuck(self, layer: Layer, first: Reading, history: History) -> bool:
        """Say whether an output was within its bounds at first, and the loss has not come below its first value since.

        An output may become as sharp as it likes while it learns; at its bound for everything, it can learn no more.
        """
        course = course_of(history.losses)
        return first.share(layer) < self.late_share and course.last >= course.start

    def _is_pulled_on(self, layer: Layer, first: Reading, recent: Sequence[Reading]) -> bool:
        """Say whether an output has come to its bound since the first record, with much of a squared error left, and stays there.

        The error at an output that may be as its targets are goes to 0 there.
        """
        left = all(reading.error_left(layer, first) >= self.error_left for reading in recent)
        return left and first.record.step == 0 and first.share(layer) < self.late_share

    def _finding(self, found: Sequence[Saturated], reading: Reading, history: History) -> Finding:
        # Of two that are alike, the one that is known to let nothing pass: before it no gradient is left to tell.
        worst = max(found, key=lambda place: (place.severity.rank, place.share, not math.isnan(place.passing)))
        bounds = bounds_of(worst.layer)
        evidence = {"saturated_fraction": Figure(worst.share, _of(worst))}
        if worst.late:
            evidence["records"] = Figure(self.late_records, "sampled steps in a row")
        bar = self.distribution if worst.distribution else self.late_share if worst.late else bounds.warning
        expected = {"saturated_fraction": Figure(bar, f"{_of(worst)}, or less")}
        if not math.isnan(worst.rms):
            evidence["input_rms"] = Figure(worst.rms)
            if math.isfinite(bounds.knee):
                expected["input_rms"] = Figure(bounds.knee, "(the knee), or less")
        if math.isfinite(worst.passing):
            evidence["gradient_passing"] = Figure(worst.passing, "of the gradient's mean square that can pass")
            expected["gradient_passing"] = Figure(self.late_passing, "of it, or more")
        gain = _gain(worst, reading)
        if not math.isnan(gain):
            evidence["gain"] = Figure(gain, "Var(out)/E[in²]")
            expected["gain"] = Figure(1.0, "Var(out)/E[in²]")
        order = sorted(found, key=lambda place: place.layer.depth)
        return Finding(
            rule=self.name,
            code=self.code,
            severity=worst.severity,
            layers=tuple(dict.fromkeys(place.named for place in order)),
            step=history.last.step,
            message=message(worst, gain, reading, history, [p.layer.name for p in order if p is not worst]),
            evidence=evidence,
            expected=expected,
            remedy=remedy(order, worst, reading, history),
            source=ATTENTION_SOURCE if worst.is_attention else self.source,
        )


def _place(layer: Layer, reading: Reading, severity: Severity, *, late: bool) -> Saturated:
    return Saturated(
        layer,
        reading.share(layer),
        reading.root(layer, Quantity.MEAN_SQUARE),
        reading.passing(layer),
        severity,
        behind_a_factor(layer, reading) or reading.culprit(layer),
        distribution=is_distribution(layer),
        late=late,
    )


def _of(place: Saturated) -> str:
    return "of the distributions" if place.distribution else "of the elements"


def _gain(place: Saturated, reading: Reading) -> float:
    return math.nan if place.culprit is None else reading.at(place.culprit.name, Quantity.GAIN)
