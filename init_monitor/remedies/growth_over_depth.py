"""The findings of IM101 and IM102 about a signal that grows or fades over depth, and their remedy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis import residual_branches
from init_monitor.analysis.between_layers import passages
from init_monitor.analysis.dtypes import format_of
from init_monitor.analysis.forward_growth import trend
from init_monitor.analysis.forward_profile import Signal, signal_of
from init_monitor.analysis.gains import gain_source
from init_monitor.records import Figure, Finding, Severity
from init_monitor.remedies import (
    affected_layers,
    between_layers,
    made_by_training,
    own_scale,
    phrases,
    small_branches,
    snippets,
)
from init_monitor.remedies.raw_tables import Tables, faint_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.analysis.forward_growth import DepthChange
    from init_monitor.analysis.forward_profile import ForwardProfile
    from init_monitor.records import History, Layer
    from init_monitor.remedies.named_rule import NamedRule

ONE_PLACE = 0.75
"""A single level that accounts for this fraction of the whole change (in logarithm) is the place; the rest is noise."""


def findings(
    rule: NamedRule, changes: Sequence[DepthChange], history: History, *, direction: int, least_blocks: int
) -> Iterator[Finding]:
    """Yield one finding per severity, about the segments that have it.

    Args:
        rule: whose findings they are.
        changes: what the segments show.
        history: what was judged.
        direction: 1 for a signal that grows, -1 for one that fades.
        least_blocks: residual additions from which the remedy also starts their branches small.
    """
    for severity in sorted({change.severity for change in changes}, reverse=True):
        found = [change for change in changes if change.severity is severity]
        yield _finding(rule, found, history, direction=direction, least_blocks=least_blocks)


def _finding(
    rule: NamedRule, found: Sequence[DepthChange], history: History, *, direction: int, least_blocks: int
) -> Finding:
    signal = signal_of(history.last, history.structure)
    found = [_by_what_lies_between(one, signal, history) for one in found]
    worst = max(found, key=lambda one: abs(math.log(one.total)) if one.total > 0 else math.inf)
    at = signal.of(worst.segment)
    layers = [one.segment.layers[i] for one in found for i in _at_fault(one, signal)]
    message = _message(worst, at)
    trained, weights = _by_training(worst, at, history, direction=direction)
    if trained and worst.since is None:
        message += f" {made_by_training.told(history, direction=direction, weights=weights)}"
    if len(found) > 1:
        message += f" The same happens in {phrases.count(len(found) - 1, 'other part')} of the network."
    evidence, expected = _numbers(worst, at)
    lead = worst.segment.layers[worst.worst if worst.worst is not None else 0]
    exponents = [place.exponent for one in found for place in one.between.values() if place.exponent]
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=worst.severity,
        layers=tuple(dict.fromkeys((*exponents, *(layer.name for layer in layers)))),
        step=history.last.step,
        message=message,
        evidence=evidence,
        expected=expected,
        remedy=made_by_training.remedy(history, direction=direction, weights=[x.weight for x in layers if x.weight])
        if trained
        else _remedy(layers, history, worst, least_blocks),
        source=gain_source(lead.activation),
    )


def _by_what_lies_between(change: DepthChange, signal: Signal, history: History) -> DepthChange:
    """Take the blame from the layers where the change happens between them."""
    if change.silent_from is not None or change.limit is not None or change.since is not None:
        return change
    between = passages(signal.of(change.segment), change.total, history.last)
    return change._replace(between=between, blamed=(), worst=None) if between else change


def _by_training(change: DepthChange, at: ForwardProfile, history: History, *, direction: int) -> tuple[bool, bool]:
    """Say whether training caused it, and whether through the size of the weights."""
    if change.since is not None:
        return True, True
    began = signal_of(history.records[0], history.structure).of(change.segment)
    if change.silent_from is not None:
        # A first record without numbers says nothing.
        return bool(np.nanmax(began.variance, initial=0.0) > 0) and began.silent_from() is None, False
    if change.worst is None:
        known = direction < 0 or change.between
        before = trend(began, direction=direction).total if known else math.nan
        return abs(before) < abs(math.log(change.total)) / 2, False
    for first, now in ((began.weights_give, at.weights_give), (began.gain, at.gain)):
        if made_by_training.made_by_training(first, now, at.healthy(), change.worst, direction=direction):
            return True, first is began.weights_give
    return False, False


def _numbers(change: DepthChange, at: ForwardProfile) -> tuple[dict[str, Figure], dict[str, Figure]]:
    evidence, expected = {"total_growth": Figure(change.total, "×")}, {"total_growth": Figure(1.0, "×")}
    if change.since is not None or not change.total or _is_gradual(change, at):
        evidence = {"growth_per_layer": Figure(change.growth, "× per layer"), **evidence}
        expected = {"growth_per_layer": Figure(1.0, "× per layer"), **expected}
    if change.worst is not None:
        evidence["worst_gain"] = Figure(at.gain[change.worst], "Var(out)/E[in²]")
        expected["worst_gain"] = Figure(at.healthy()[change.worst], "Var(out)/E[in²]")
        if np.isfinite(at.weights_give[change.worst]):
            evidence["gain_from_weights"] = Figure(at.weights_give[change.worst], "fan_in · Var(W)")
    if np.isfinite(at.abs_max).any():
        evidence["abs_max"] = Figure(np.nanmax(at.abs_max))
    if math.isfinite(change.until):
        evidence["layers_to_limit"] = Figure(change.until, "further layers")
        evidence["depth_at_limit"] = Figure(change.until + at.segment.depth, "layers")
    return evidence, expected


def _message(change: DepthChange, at: ForwardProfile) -> str:
    segment = change.segment
    first, last = segment.layers[0], segment.layers[-1]
    if change.silent_from is not None:
        start = segment.layers[change.silent_from].name
        cause = segment.layers[change.blamed[0]].name
        where = f"between {cause} and {start}" if change.blamed[0] < change.silent_from else f"at {start}"
        return (
            f"The signal stops {where}: from {start} to {last.name} every output is the same for every input"
            " (variance exactly 0), so nothing about the input"
            f" {'reaches the loss' if change.severity is Severity.CRITICAL else 'passes here; what runs beside it still does'}."
        )
    if change.since is not None:
        layers = [segment.layers[i].name for i in change.blamed]
        return (
            f"The weights of {phrases.names(layers)} have shrunk since step {change.since}: they now let through"
            f" {phrases.number(change.total)} of the signal's variance that they let through then, so the differences between"
            " samples hardly reach the end."
        )
    if change.limit is not None:
        full = segment.layers[change.limit]
        return (
            f"The output of {full.name} reaches {phrases.number(float(at.abs_max[change.limit]))}, and {full.dtype} ends"
            f" at {phrases.number(format_of(full.dtype).largest)}: the next larger batch, or the next layer, overflows."
        )
    parts = [f"The signal {_pace(change, at)} from {first.name} to {last.name}:"]
    parts.append(f"its variance {phrases.change(change.total)} over {phrases.count(segment.depth, 'layer')}.")
    if change.worst is not None:
        culprit = segment.layers[change.worst]
        follows = f" with {culprit.activation} after it" if culprit.activation else ""
        parts.append(
            f"{culprit.name} multiplies it by {phrases.number(at.gain[change.worst])}, where"
            f" {phrases.number(at.healthy()[change.worst])} keeps it{follows}."
        )
    elif change.between:
        parts.append(between_layers.told(change.between))
    else:
        parts.append("No single layer is off: the change comes from what lies between them (additions, biases, means).")
    parts += _limit(change, at)
    return " ".join(parts)


def _is_gradual(change: DepthChange, at: ForwardProfile) -> bool:
    """Say whether the slope explains the change: then it has a pace, and continues at that pace."""
    even = abs(math.log(change.growth)) * change.segment.depth
    return even >= abs(math.log(change.total)) / 2 and _one_place(change, at) is None


def _one_place(change: DepthChange, at: ForwardProfile) -> int | None:
    """Return the level at which nearly all of the change happens; ``None`` if layers of several levels are to blame."""
    levels, profile = at.profile(1 if change.total > 1 else -1)
    steps = np.abs(np.diff(profile))
    blamed = {at.segment.levels[i] for i in change.blamed}
    if not steps.size or float(steps.max()) <= abs(math.log(change.total)) * ONE_PLACE or len(blamed) > 1:
        return None
    return int(levels[int(steps.argmax()) + 1])


def _at_fault(change: DepthChange, signal: Signal) -> Sequence[int]:
    """Return the positions of the layers to name: those that are off; else where the change happens; else all."""
    every = range(len(change.segment.layers))
    if change.between:
        return list(change.between)
    if change.blamed or change.total <= 0 or change.limit is not None:
        return change.blamed or every
    level = _one_place(change, signal.of(change.segment))
    return [i for i in every if level in (None, change.segment.levels[i])]


def _pace(change: DepthChange, at: ForwardProfile) -> str:
    grows = change.total > 1
    level = _one_place(change, at)
    if level is not None and not change.blamed:
        place = phrases.names(
            [x.name for x, one in zip(at.segment.layers, at.segment.levels, strict=True) if one == level]
        )
        return f"{'grows' if grows else 'fades'} at one place, {place},"
    if level is not None:
        return "grows at one place" if grows else "fades at one place"
    if not _is_gradual(change, at):
        return "grows" if grows else "fades"
    if change.growth >= 1:
        return f"grows {phrases.times(change.growth)} per layer"
    return f"shrinks to {phrases.times(change.growth)} per layer"


def _limit(change: DepthChange, at: ForwardProfile) -> list[str]:
    if change.until > phrases.WORTH_SAYING * at.segment.depth or (change.until and not _is_gradual(change, at)):
        return []
    layer = at.segment.layers[-1]
    growing = change.total > 1
    form = format_of(layer.dtype)
    limit = f"the largest {layer.dtype} number" if growing else f"the smallest normal {layer.dtype} number"
    size = phrases.number(form.largest if growing else form.smallest_normal)
    if change.until == 0:
        return [f"It has passed {limit} ({size})."]
    return [f"At this pace it passes {limit} ({size}) after {change.until:.0f} more."]


def _initialise(layers: list[Layer], history: History, change: DepthChange, least_blocks: int) -> str:
    structure = history.structure
    if change.silent_from is not None:
        layers = affected_layers.constant_too(layers, history)
    layers = affected_layers.off_too(layers, history, direction=1 if change.total > 1 else -1)
    if change.total > 1 and (factors := own_scale.advice(layers, history)):
        return factors
    sentence = "Initialise the weights of these layers for the activation that follows them, before training."
    growing = residual_branches.unnormalised(structure)
    small = ""
    if len(growing) >= least_blocks:
        sentence += (
            " The residual additions are not normalised: start their branches small as well, or they explode next."
        )
        small, drawn = small_branches.start_small(growing, structure), small_branches.drawn_by(growing, structure)
        layers = [layer for layer in layers if layer.name not in drawn]
    tables = faint_tables(history) if change.total < 1 else Tables()
    code = snippets.together(snippets.initialise(layers, among=structure), small, tables.code)
    return snippets.advice(sentence + tables.sentence, code)


def _remedy(layers: list[Layer], history: History, change: DepthChange, least_blocks: int) -> str:
    structure = history.structure
    if change.worst is not None or change.silent_from is not None:
        return _initialise(layers, history, change, least_blocks)
    if change.limit is not None:
        return "Use a format with more range for this layer (bfloat16, float32), or a normalisation before it."
    if change.between:
        return between_layers.remedy(change.between)
    if structure.residuals:
        sentence = (
            "Every residual addition adds the variance of its branch: start the branches at or near zero, normalise inside"
            " them, or multiply each sum by 1/sqrt(2)."
        )
        return snippets.advice(sentence, small_branches.start_small(structure.residuals, structure))
    if change.total < 1:
        return (
            "Put a normalisation between these layers, and look at what happens to the signal between them: a mean over many, a sum"
            " with small weights (a softmax over the wrong dimension, or over more than one sum's own terms), a factor."
        )
    return "Put a normalisation between these layers, and look at what happens to the signal between them."
