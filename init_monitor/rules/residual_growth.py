"""IM401: every residual addition multiplies the variance of its stream."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from init_monitor.analysis import residual_branches
from init_monitor.analysis.dtypes import FORMATS
from init_monitor.analysis.optimizers import epsilon_of
from init_monitor.analysis.residual_streams import Growth, Measured, Stream, streams
from init_monitor.records import Figure, Finding, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases, small_branches, snippets
from init_monitor.rules.propagation import CRITICAL_CHANGE, WARNING_CHANGE, WORTH_SAYING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.records import History, Structure

LEAST_BLOCKS = 4
"""Shorter streams cannot tell growth that goes on from growth that slows down, and end at 2^3."""

LASTING_GROWTH = 1.5
"""Variance factor per block, over the whole stream and over its later half alone. Branches that add the same variance v
each let a stream grow linearly, 1 + v, 1 + 2v, …: from the second of four blocks to the fourth that is at most
sqrt(4/2) = 1.41 per block, however large v is, and less in a longer stream. Branches that double it stay at 2."""

PEAK = 4.0
"""The largest of the elements overflows first: one in 16,000 of a Gaussian lies beyond four standard deviations, and an
activation has more elements than that."""

SOURCE = (
    "Shao et al. 2020, 'Is normalization indispensable for training deep neural networks?', A.1:"
    " Var(x + F) = Var(x) + Var(F) + 2 Cov(x, F)"
)


class _Verdict(NamedTuple):
    """One stream that grows exponentially, forward and (towards the input) backward."""

    stream: Stream
    severity: Severity
    forward: Growth
    backward: Growth
    blamed: tuple[int, ...]


@dataclass(frozen=True)
class ResidualGrowth:
    """IM401: the variance grows exponentially along a residual stream, about twofold per block.

    Growth that slows down (1 + 1/k at block k, as behind branches that end or begin with a normalisation) is healthy at
    any size and is not mentioned.

    Attributes:
        warning_change: variance factor over a stream from which exponential growth is a warning.
        critical_change: factor of the signal *and* of the gradient from which it is critical, unless the optimizer
            rescales each gradient; an overflow within the stream is critical anyway.
        lasting_growth: variance factor per block from which growth counts as exponential.
        least_blocks: streams of fewer measured additions are not judged.
    """

    code: ClassVar[str] = "IM401"
    name: ClassVar[str] = "residual-growth"

    warning_change: float = WARNING_CHANGE
    critical_change: float = CRITICAL_CHANGE
    lasting_growth: float = LASTING_GROWTH
    least_blocks: int = LEAST_BLOCKS

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding per severity."""
        measured = Measured(history.last)
        verdicts = [v for s in streams(history.structure) if (v := self._verdict(s, measured, history)) is not None]
        for severity in sorted({v.severity for v in verdicts}, reverse=True):
            yield _finding([v for v in verdicts if v.severity is severity], measured, history)

    def _verdict(self, stream: Stream, measured: Measured, history: History) -> _Verdict | None:
        forward, backward = measured.forward(stream), measured.backward(stream)
        if forward.measured_blocks < self.least_blocks:
            return None
        inside = sum(residual_branches.normalises(residual, history.structure) for residual in stream.residuals)
        severity = self._severity(
            stream, forward, backward, history.last.optimizer, normalised=2 * inside > stream.blocks
        )
        if severity is None:
            return None
        growth = measured.column(Quantity.RESIDUAL_GROWTH, stream)
        blamed = tuple(i for i, value in enumerate(growth) if value >= self.lasting_growth)
        return _Verdict(stream, severity, forward, backward, blamed or tuple(range(stream.blocks)))

    def _severity(
        self, stream: Stream, forward: Growth, backward: Growth, optimizer: str, *, normalised: bool
    ) -> Severity | None:
        total = forward.steady_total
        lasting = forward.per_block >= self.lasting_growth and forward.later >= self.lasting_growth
        # Slower, but over so many blocks that the later half alone does its part of a warning: no linear growth does.
        slow = (
            not normalised and total >= self.warning_change and forward.later_factor >= math.sqrt(self.warning_change)
        )
        if not (lasting or slow):
            return None
        largest = stream.format.largest
        if any(way.overflow_block(largest, peak=PEAK) <= stream.blocks for way in (forward, backward)):
            return Severity.CRITICAL
        both = total >= self.critical_change and backward.steady_total >= self.critical_change
        if both and epsilon_of(optimizer) is None:
            return Severity.CRITICAL
        if total >= self.warning_change:
            return Severity.WARNING
        return None if normalised else Severity.INFO


def _finding(verdicts: Sequence[_Verdict], measured: Measured, history: History) -> Finding:
    worst = max(verdicts, key=lambda verdict: verdict.forward.steady_total)
    message = _message(worst, measured)
    if len(verdicts) > 1:
        message += f" The same happens in {phrases.count(len(verdicts) - 1, 'other stream')} of the network."
    evidence, expected = _numbers(worst, measured)
    return Finding(
        rule=ResidualGrowth.name,
        code=ResidualGrowth.code,
        severity=worst.severity,
        layers=tuple(v.stream.residuals[i].name for v in verdicts for i in v.blamed),
        step=history.last.step,
        message=message,
        evidence=evidence,
        expected=expected,
        remedy=_remedy(verdicts, history.structure),
        source=SOURCE,
    )


def _numbers(verdict: _Verdict, measured: Measured) -> tuple[dict[str, Figure], dict[str, Figure]]:
    stream, forward, backward = verdict.stream, verdict.forward, verdict.backward
    after = f"after {phrases.count(stream.blocks, 'block')}"
    evidence = {
        "growth_per_block": Figure(forward.per_block, "× per block"),
        "blocks": Figure(stream.blocks, "blocks"),
        "total_growth": Figure(forward.total, "×"),
        "predicted_variance": Figure(forward.predicted, after),
        "variance_ratio": Figure(
            measured.median(Quantity.RESIDUAL_VARIANCE_RATIO, stream), "Var(branch)/Var(skip), median"
        ),
        "correlation": Figure(measured.median(Quantity.RESIDUAL_CORRELATION, stream), "of branch and skip, median"),
        "gradient_growth_per_block": Figure(backward.per_block, "× per block towards the input"),
        "overflow_block": Figure(forward.overflow_block(stream.format.largest), f"blocks, rms in {stream.format.name}"),
        "overflow_block_float16": Figure(forward.overflow_block(FORMATS["float16"].largest), "blocks, rms in float16"),
    }
    expected = {
        "growth_per_block": Figure(1.0, "× per block"),
        "total_growth": Figure(1.0, "×"),
        "gradient_growth_per_block": Figure(1.0, "× per block towards the input"),
    }
    evidence = {name: figure for name, figure in evidence.items() if math.isfinite(figure)}
    return evidence, {name: figure for name, figure in expected.items() if name in evidence}


def _message(verdict: _Verdict, measured: Measured) -> str:
    stream, forward, backward = verdict.stream, verdict.forward, verdict.backward
    first, last = stream.residuals[0].name, stream.residuals[-1].name
    lead = (
        f"Each residual addition from {first} to {last} multiplies the variance by {phrases.number(forward.per_block)}:"
        f" over {phrases.count(stream.blocks, 'block')} it {phrases.change(forward.total)}."
    )
    parts = [lead]
    ratio = measured.median(Quantity.RESIDUAL_VARIANCE_RATIO, stream)
    if math.isfinite(ratio):
        parts.append(
            f"A branch has {phrases.times(ratio)} the variance of its skip, and nothing on the way makes up for it."
        )
    if backward.per_block >= LASTING_GROWTH:
        parts.append(f"The gradient grows {phrases.times(backward.per_block)} per block on its way back, too.")
    return " ".join([*parts, *_limit(verdict)])


def _limit(verdict: _Verdict) -> list[str]:
    stream, forward = verdict.stream, verdict.forward
    form, half = stream.format, FORMATS["float16"]
    block = forward.overflow_block(form.largest)
    limit = f"the largest {form.name} number ({phrases.number(form.largest)})"
    if block <= stream.blocks:
        return [f"Its rms passes {limit} at block {block:.0f}."]
    if forward.overflow_block(form.largest, peak=PEAK) <= stream.blocks:
        return [f"Its largest elements ({PEAK:.0f} times the rms) pass {limit} within these blocks."]
    if block <= WORTH_SAYING * stream.blocks:
        return [f"At this pace its rms passes {limit} at block {block:.0f}."]
    block = forward.overflow_block(half.largest)
    if block <= WORTH_SAYING * stream.blocks:
        return [
            f"In float16 its rms would pass the largest number ({phrases.number(half.largest)}) at block {block:.0f}."
        ]
    return []


def _remedy(verdicts: Sequence[_Verdict], structure: Structure) -> str:
    blocks = max(v.stream.blocks for v in verdicts)
    sentence = (
        "Start the branches at zero, normalise inside them, multiply each sum by 1/sqrt(2), or weigh block k as"
        f" alpha·x + beta·F(x) with alpha = sqrt((k-1+L)/(k+L)), beta = 1/sqrt(k+L), L = {blocks} (RescaleNet)."
    )
    code = [small_branches.start_small([v.stream.residuals[i] for i in v.blamed], structure) for v in verdicts]
    return snippets.advice(sentence, snippets.together(*code))
