"""IM101 and IM102: the signal grows or fades exponentially with depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from init_monitor.analysis import residual_branches
from init_monitor.analysis.dtypes import format_of
from init_monitor.analysis.forward_profile import Profile, Signal
from init_monitor.analysis.gains import gain_source
from init_monitor.analysis.segments import Segment, bounded_exp, segments, theil_sen
from init_monitor.records import Figure, Finding, Role, Severity
from init_monitor.remedies import affected_layers, made_by_training, phrases, small_branches, snippets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.records import Column, History, Layer, Structure

LEAST_LAYERS = 4
"""A slope through fewer weight layers says nothing about depth: one odd layer would be it."""

WARNING_CHANGE = 1e4
"""Variance factor over a segment: the rms has changed 100-fold. A He-initialised network stays far inside: its log
variance walks with a standard deviation of sqrt(5 · layers / width) (Hanin & Nica 2018, "Products of many large random
matrices"), 0.7 for 50 layers of width 512, and ln 1e4 is 9.2."""

FADING_CHANGE = 1e5
"""The same for a signal that fades: AlexNet's, eight layers in the default initialisation of PyTorch, fades to 1/15,000, and
learns; 12 layers of Xavier in front of ReLUs, which learn markedly worse, to 1/260,000, and 20 to 1/2,000,000."""

CRITICAL_CHANGE = 1e10
"""Variance factor over a segment: the rms has changed 1e5-fold. A unit signal is then above float16's largest number
(65504) or below its smallest normal one (6.1e-5)."""

BLAME_FACTOR = 1.5
"""A layer is to blame if its gain is off by more: half-way (in logarithm, rounded up) to the factor 2 that separates
He from Xavier in front of a ReLU, and two standard deviations of what chance does to a layer of 128 units."""

BLAME_SHARE = 0.25
"""A layer shares the blame only if its gain is off by at least this part (in logarithm) of the worst one's: beside one
layer that is off a thousandfold, those that chance put at 1.6 are not at fault."""

WORTH_SAYING = 3.0
"""A limit so many times the present depth away is left to the evidence: nobody will build that network next."""

RENEWED_VARIANCE = 1e-4
"""Variance of what enters a normalisation from which it comes out whole: ten times the 1e-5 that LayerNorm and BatchNorm
add to it by default."""

ONE_PLACE = 0.75
"""A single level that makes this part of the whole change (in logarithm) is the place; the others are noise about it."""

_NET_LAYERS = 3
"""The end of a segment is the median of so many levels, so that a head with small weights does not count as decay."""


class Verdict(NamedTuple):
    """What one segment shows.

    Attributes:
        segment: which.
        severity: by consequence.
        growth: variance factor per layer (1 where nothing can be said).
        total: variance factor over the segment.
        blamed: positions in the segment of the layers whose gain is off.
        worst: position of the one whose gain is off most; ``None`` if no gain is.
        until: further layers before the format gives up.
        silent_from: position from which the signal is exactly constant; ``None`` if it is not.
        limit: position of the layer whose numbers reach the end of the format without much growth; else ``None``.
    """

    segment: Segment
    severity: Severity
    growth: float
    total: float
    blamed: tuple[int, ...]
    worst: int | None
    until: float
    silent_from: int | None = None
    limit: int | None = None


@dataclass(frozen=True)
class _ActivationsOverDepth:
    """Judges the variance of the weight layers' outputs over depth, within segments between normalisations.

    Attributes:
        warning_change: variance factor over a segment (or one over it) from which it is a warning.
        critical_change: the same for critical.
        blame_factor: how far off a layer's local gain may be.
        least_layers: shorter segments are only looked at for overflow.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    direction: ClassVar[int]

    warning_change: float = WARNING_CHANGE
    critical_change: float = CRITICAL_CHANGE
    blame_factor: float = BLAME_FACTOR
    least_layers: int = LEAST_LAYERS

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding per severity."""
        signal = Signal(history.last, history.structure)
        parts = segments(history.structure)
        verdicts = [v for s in parts if (v := self._verdict(signal, s, history.structure)) is not None]
        verdicts = [self._beside(v, in_branches(history.structure)) for v in verdicts]
        for severity in sorted({v.severity for v in verdicts}, reverse=True):
            yield self._finding([v for v in verdicts if v.severity is severity], signal, history)

    def _verdict(self, signal: Signal, segment: Segment, structure: Structure) -> Verdict | None:
        at = signal.of(segment)
        if self.direction < 0 and (silent := at.silent_from()) is not None:
            return Verdict(segment, Severity.CRITICAL, 0.0, 0.0, at.silenced_by(silent), None, 0.0, silent)
        levels, profile = at.profile(self.direction)
        # One level has no slope, but its numbers may reach the end of the format all the same.
        slope = theil_sen(levels, profile) if len(levels) > 1 else 0.0
        robust = slope * float(levels[-1] - levels[0]) if len(levels) else 0.0
        net = float(np.median(profile[-_NET_LAYERS:]) - profile[0]) if len(levels) else 0.0
        total = max(robust, net) if self.direction > 0 else min(robust, net)
        until = at.layers_until_overflow(slope) if self.direction > 0 else at.layers_until_underflow(slope)
        severity = self._severity(at, segment.depth, total * self.direction, until)
        if severity is None:
            return None
        if self.direction < 0 and _renewed(at, structure):
            severity = Severity.INFO
        off = at.gain_excess() * self.direction
        blamed = to_blame(off, self.blame_factor)
        worst = max(blamed, key=lambda i: float(off[i]), default=None)
        limit = at.fullest() if total * self.direction < math.log(self.warning_change) else None
        if limit is not None and not blamed:
            blamed = (limit,)
        return Verdict(segment, severity, bounded_exp(slope), bounded_exp(total), blamed, worst, until, limit=limit)

    def _beside(self, verdict: Verdict, inside: frozenset[str]) -> Verdict:
        """Return the verdict, no worse than a warning where the signal only fades beside a skip that carries it on."""
        fades = self.direction < 0 and verdict.silent_from is None and verdict.severity is Severity.CRITICAL
        if fades and inside.issuperset(layer.name for layer in verdict.segment.layers):
            return verdict._replace(severity=Severity.WARNING)
        return verdict

    def _severity(self, at: Profile, depth: int, total: float, until: float) -> Severity | None:
        if self.direction > 0 and at.overflows_next():
            return Severity.CRITICAL
        if depth < self.least_layers or total < math.log(self.warning_change):
            return None
        if total >= math.log(self.critical_change) or until <= depth:
            return Severity.CRITICAL
        return Severity.WARNING

    def _finding(self, verdicts: list[Verdict], signal: Signal, history: History) -> Finding:
        worst = max(verdicts, key=lambda v: abs(math.log(v.total)) if v.total > 0 else math.inf)
        layers = [v.segment.layers[i] for v in verdicts for i in (v.blamed or range(len(v.segment.layers)))]
        evidence, expected = _numbers(worst, signal.of(worst.segment))
        others = ""
        if len(verdicts) > 1:
            others = f" The same happens in {phrases.count(len(verdicts) - 1, 'other part')} of the network."
        blamed = worst.worst is not None
        trained = self._by_training(worst, signal, history)
        if trained:
            others = f" {made_by_training.told(history, direction=self.direction)}{others}"
        lead = worst.segment.layers[worst.worst if worst.worst is not None else 0]
        return Finding(
            rule=self.name,
            code=self.code,
            severity=worst.severity,
            layers=tuple(layer.name for layer in layers),
            step=history.last.step,
            message=_message(worst, signal.of(worst.segment)) + others,
            evidence=evidence,
            expected=expected,
            remedy=made_by_training.remedy(history, direction=self.direction)
            if trained
            else _remedy(layers, history, worst, blamed=blamed or worst.silent_from is not None),
            source=gain_source(lead.activation),
        )

    def _by_training(self, verdict: Verdict, signal: Signal, history: History) -> bool:
        if verdict.worst is None:
            return False
        at = signal.of(verdict.segment)
        began = Signal(history.records[0], history.structure).of(verdict.segment)
        return made_by_training.made_by_training(
            began.weights_give, at.weights_give, at.healthy(), verdict.worst, direction=self.direction
        )


@dataclass(frozen=True)
class ExplodingActivations(_ActivationsOverDepth):
    """IM101: the variance of the activations grows exponentially with depth."""

    code: ClassVar[str] = "IM101"
    name: ClassVar[str] = "exploding-activations"
    direction: ClassVar[int] = 1


@dataclass(frozen=True)
class VanishingActivations(_ActivationsOverDepth):
    """IM102: the variance of the activations decays exponentially with depth, or is exactly zero."""

    code: ClassVar[str] = "IM102"
    name: ClassVar[str] = "vanishing-activations"
    direction: ClassVar[int] = -1

    warning_change: float = FADING_CHANGE


def in_branches(structure: Structure) -> frozenset[str]:
    """Return the names of the layers that lie in a residual branch: the signal also goes past them."""
    return frozenset(
        layer.name for residual in structure.residuals for layer in residual_branches.layers_of(residual, structure)
    )


def to_blame(off: Column, factor: float) -> tuple[int, ...]:
    """Return the positions whose gain is off, in the direction of the symptom, by enough to have caused it.

    >>> to_blame(np.log([1.2, 512.0, 1.6, 600.0]), 1.5)
    (1, 3)
    """
    known = off[~np.isnan(off)]
    bar = max(math.log(factor), BLAME_SHARE * float(known.max(initial=0.0)))
    return tuple(int(i) for i in np.flatnonzero(off > bar))


def _renewed(at: Profile, structure: Structure) -> bool:
    """Say whether a normalisation follows on a segment that still has enough to work with: it makes up for the fading."""
    last = at.segment.indices[-1]
    after = structure.layers[last + 1 : last + 2]
    renewed = structure.layers[last].normalised or any(layer.role is Role.NORMALISATION for layer in after)
    end = at.deepest(at.variance)
    return renewed and end is not None and bool(at.variance[end] >= RENEWED_VARIANCE)


def _numbers(verdict: Verdict, at: Profile) -> tuple[dict[str, Figure], dict[str, Figure]]:
    evidence = {
        "growth_per_layer": Figure(verdict.growth, "× per layer"),
        "total_growth": Figure(verdict.total, "×"),
    }
    expected = {"growth_per_layer": Figure(1.0, "× per layer"), "total_growth": Figure(1.0, "×")}
    if verdict.worst is not None:
        evidence["worst_gain"] = Figure(at.gain[verdict.worst], "Var(out)/E[in²]")
        expected["worst_gain"] = Figure(at.healthy()[verdict.worst], "Var(out)/E[in²]")
        if np.isfinite(at.weights_give[verdict.worst]):
            evidence["gain_from_weights"] = Figure(at.weights_give[verdict.worst], "fan_in · Var(W)")
    if np.isfinite(at.abs_max).any():
        evidence["abs_max"] = Figure(np.nanmax(at.abs_max))
    if math.isfinite(verdict.until):
        evidence["layers_to_limit"] = Figure(verdict.until, "further layers")
        evidence["depth_at_limit"] = Figure(verdict.until + at.segment.depth, "layers")
    return evidence, expected


def _message(verdict: Verdict, at: Profile) -> str:
    segment = verdict.segment
    first, last = segment.layers[0], segment.layers[-1]
    if verdict.silent_from is not None:
        start = segment.layers[verdict.silent_from].name
        cause = segment.layers[verdict.blamed[0]].name
        where = f"between {cause} and {start}" if verdict.blamed[0] < verdict.silent_from else f"at {start}"
        return (
            f"The signal stops {where}: from {start} to {last.name} every output is the same for every input"
            " (variance exactly 0), so nothing about the input reaches the loss."
        )
    if verdict.limit is not None:
        full = segment.layers[verdict.limit]
        return (
            f"The output of {full.name} reaches {phrases.number(float(at.abs_max[verdict.limit]))}, and {full.dtype} ends"
            f" at {phrases.number(format_of(full.dtype).largest)}: the next larger batch, or the next layer, overflows."
        )
    parts = [f"The signal {_pace(verdict, at)} from {first.name} to {last.name}:"]
    parts.append(f"its variance {phrases.change(verdict.total)} over {phrases.count(segment.depth, 'layer')}.")
    if verdict.worst is not None:
        culprit = segment.layers[verdict.worst]
        follows = f" with {culprit.activation} after it" if culprit.activation else ""
        parts.append(
            f"{culprit.name} multiplies it by {phrases.number(at.gain[verdict.worst])}, where"
            f" {phrases.number(at.healthy()[verdict.worst])} keeps it{follows}."
        )
    else:
        parts.append("No single layer is off: it comes from what lies between them (additions, biases, means).")
    parts += _limit(verdict, at)
    return " ".join(parts)


def _pace(verdict: Verdict, at: Profile) -> str:
    _, profile = at.profile(1 if verdict.total > 1 else -1)
    largest = float(np.abs(np.diff(profile)).max(initial=0.0))
    even = abs(math.log(verdict.growth)) * verdict.segment.depth
    if even < abs(math.log(verdict.total)) / 2 or largest > abs(math.log(verdict.total)) * ONE_PLACE:
        return "grows at one place" if verdict.total > 1 else "fades at one place"
    if verdict.growth >= 1:
        return f"grows {phrases.times(verdict.growth)} per layer"
    return f"shrinks to {phrases.times(verdict.growth)} per layer"


def _limit(verdict: Verdict, at: Profile) -> list[str]:
    if verdict.until > WORTH_SAYING * at.segment.depth:
        return []
    layer = at.segment.layers[-1]
    growing = verdict.total > 1
    form = format_of(layer.dtype)
    limit = f"the largest {layer.dtype} number" if growing else f"the smallest normal {layer.dtype} number"
    size = phrases.number(form.largest if growing else form.smallest_normal)
    if verdict.until == 0:
        return [f"It has passed {limit} ({size})."]
    return [f"At this pace it passes {limit} ({size}) after {verdict.until:.0f} more."]


def _remedy(layers: list[Layer], history: History, verdict: Verdict, *, blamed: bool) -> str:
    structure = history.structure
    if blamed:
        if verdict.silent_from is not None:
            layers = affected_layers.constant_too(layers, history)
        layers = affected_layers.off_too(layers, history, direction=1 if verdict.total > 1 else -1)
        sentence = "Initialise the weights of these layers for the activation that follows them, before training."
        code = snippets.initialise(layers, among=structure.layers)
        growing = residual_branches.unnormalised(structure)
        if len(growing) >= LEAST_LAYERS:
            sentence += (
                " No normalisation holds the residual additions: start their branches small, or they explode next."
            )
            code = snippets.together(code, small_branches.start_small(growing, structure))
        return snippets.advice(sentence, code)
    if verdict.limit is not None:
        return "Use a format with more range for this layer (bfloat16, float32), or a normalisation before it."
    known = structure.by_name()
    ends = [known[r.branch] for r in structure.residuals if r.branch in known and known[r.branch].weight]
    if structure.residuals:
        sentence = (
            "Every residual addition adds the variance of its branch: start the branches at zero, normalise inside"
            " them, or multiply each sum by 1/sqrt(2)."
        )
        return snippets.advice(sentence, snippets.initialise(ends, snippets.ZERO, among=structure.layers))
    return "Put a normalisation between these layers, and look at what happens to the signal between them."
