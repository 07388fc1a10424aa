"""IM401: every residual addition multiplies the variance of its stream."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from init_monitor.analysis import residual_branches
from init_monitor.analysis.bounded import is_fresh
from init_monitor.analysis.consequences import SIGNAL
from init_monitor.analysis.drowned_streams import drowned_streams
from init_monitor.analysis.dtypes import FORMATS
from init_monitor.analysis.gains import healthy_gain
from init_monitor.analysis.learning import Learning, guessing_loss, learning_of, starts_far_above
from init_monitor.analysis.optimizers import epsilon_of
from init_monitor.analysis.pace import judged_weights, paces_of
from init_monitor.analysis.residual_streams import Growth, Measured, Stream, streams
from init_monitor.analysis.stream_factors import growing_by
from init_monitor.records import Figure, Finding, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import affected_layers, made_by_training, phrases, small_branches, snippets, stream_factors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.analysis.drowned_streams import Drowned
    from init_monitor.analysis.stream_factors import StreamFactor
    from init_monitor.records import History


class _GrowingStream(NamedTuple):
    """One stream that grows exponentially, forward and (towards the input) backward."""

    stream: Stream
    severity: Severity
    forward: Growth
    backward: Growth
    blamed: tuple[int, ...]
    factor: StreamFactor | None


@dataclass(frozen=True)
class ResidualGrowth:
    """IM401: the variance grows exponentially along a residual stream, about twofold per block.

    A stream is a chain of additions, each taking its skip from the sum before; a normalisation on it or a projection starts a
    new one. Growth that slows down (1 + 1/k at block k, as behind branches that end or begin with a normalisation: every pre-norm
    transformer, every ResNet with BatchNorm) is healthy at any size and is not mentioned, unless the initial weights inside the
    branches are what makes it far too large: a normalisation at the end hides that. The finding predicts the block at which the
    rms overflows. Where such a start makes the first loss far larger than guessing, it is a warning at once, critical if a step replaces
    the weights by it, and stays the cause of what the first steps then do to the signal.

    **Why.** Var(x + F) = Var(x) + Var(F) + 2 Cov(x, F). With He's initialisation inside an unnormalised branch F has the
    variance of x and is hardly correlated with it, so every block doubles it: 2^L after L blocks, and the gradient likewise on
    its way back. From unit variance, float16 ends after 32 blocks.

    **Example.** 20 blocks ``x + second(relu(first(x)))`` with ``kaiming_normal_`` weights: 2× per block, a million in all.

    **Remedy.** Start the last layer of every branch at zero (the finding's code names them), normalise inside the branches,
    multiply each sum by 1/√2, or weigh block k of L with α = √((k−1+L)/(k+L)) and β = 1/√(k+L) (RescaleNet). A number above 1 by
    which the forward multiplies each sum, skip or branch has to go, and a parameter that does has to start at 1: no weights make
    up for it.

    Attributes:
        warning_change: variance factor over a stream from which exponential growth is a warning: the rms has grown 100-fold.
        drowning_change: the same where the first loss is far above that of guessing, because the output is far too large: the
            rms has grown 10-fold.
        critical_change: factor of the signal *and* of the gradient from which it is critical, unless the optimizer
            rescales each gradient: the rms has grown 1e5-fold, beyond float16. An overflow within the stream is critical
            anyway.
        broken_step: ‖Δw‖/‖w‖ of the median weight in one step, of an optimizer that does not rescale the gradient, from which a
            first loss far above that of guessing is critical: the growth is what made that step, as it does IM603's, whose bound
            for too large steps this is.
        lasting_growth: variance factor per block, over the whole stream and over its later half alone, from which growth
            counts as exponential. Branches that add the same variance v each let a stream grow linearly, 1 + v, 1 + 2v, …:
            from the second of four blocks to the fourth that is at most sqrt(4/2) = 1.41 per block, however large v is, and
            less in a longer stream. Branches that double it stay at 2.
        drowning_branch: variance of a branch, behind a normalisation that starts it from 1, at which the first block drowns what
            enters it, whatever the depth: the rms is five times that.
        large_layer: factor over the healthy gain from which the weights of a layer in it are far too large; as in IM502.
        least_blocks: streams of fewer measured additions are not judged: they cannot tell growth that goes on from growth
            that slows down, and end at 2^3. A factor in the forward that makes most of it is seen in one block.
        peak: how many times the rms the largest elements are, which overflow first: one in 16,000 of a Gaussian lies
            beyond four standard deviations, and an activation has more elements than that.
    """

    code: ClassVar[str] = "IM401"
    name: ClassVar[str] = "residual-growth"
    follows: ClassVar[tuple[str, ...]] = SIGNAL
    speaks_for_all: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Shao et al. 2020, 'Is normalization indispensable for training deep neural networks?', A.1:"
        " Var(x + F) = Var(x) + Var(F) + 2 Cov(x, F)"
    )

    warning_change: float = 1e4
    drowning_change: float = 100.0
    critical_change: float = 1e10
    broken_step: float = 0.3
    lasting_growth: float = 1.5
    drowning_branch: float = 30.0
    large_layer: float = 5.0
    least_blocks: int = 4
    peak: float = 4.0

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding per severity."""
        measured = Measured(history.last)
        start = starts_far_above(history)
        if start > 0 and learning_of(history) is not Learning.LEARNS:
            # A signal that the first steps destroyed is a consequence of such a start, not the cause.
            began = replace(history, records=history.records[:1])
            growing = self._growing(Measured(began.last), began)
            if any(one.severity > Severity.INFO for one in growing):
                found = self._finding(growing, Measured(began.last), history, start)
                yield replace(found, severity=Severity.CRITICAL) if self._breaks(history) else found
                return
        growing = self._growing(measured, history)
        if not any(one.severity > Severity.INFO for one in growing) and (drowned := self._drowned(history)):
            yield self._drowned_finding(drowned, history)
            return
        made = bool(growing) and self._made_by_training(growing, history)
        for severity in sorted({one.severity for one in growing}, reverse=True):
            found = self._finding([one for one in growing if one.severity is severity], measured, history)
            yield _as_made(found, history) if made else found

    def _breaks(self, history: History) -> bool:
        """Say whether the loss is no number any more, or a step along the gradient as it is has replaced much of the weights."""
        if learning_of(history) is Learning.BROKEN:
            return True
        if epsilon_of(history.last.optimizer) is not None:
            return False  # an optimizer that rescales the gradient makes steps of the same size whatever the stream is
        paces = paces_of(history.records, judged_weights(history), history.structure)
        return any(pace.low > self.broken_step for pace in paces)

    def _growing(self, measured: Measured, history: History) -> list[_GrowingStream]:
        return [one for s in streams(history.structure) if (one := self._look(s, measured, history)) is not None]

    def _made_by_training(self, growing: Sequence[_GrowingStream], history: History) -> bool:
        """Say whether none of the streams grew so at step 0, where most of each one's growth has come since."""
        first = history.records[0]
        if not first.step == 0 < history.last.step:
            return False
        began = ((one, Measured(first).forward(one.stream).steady_total) for one in growing)
        return all(total > 0 and 2 * math.log(total) < math.log(one.forward.steady_total) for one, total in began)

    def _look(self, stream: Stream, measured: Measured, history: History) -> _GrowingStream | None:
        forward, backward = measured.forward(stream), measured.backward(stream)
        factor = growing_by(stream, measured, forward.total, history.structure) if forward.total > 1 else None
        if forward.measured_blocks < (1 if factor else self.least_blocks):
            return None
        normalising = residual_branches.normalising(history.structure)
        inside = sum(residual.name in normalising for residual in stream.residuals)
        severity = self._severity(stream, forward, backward, history, normalised=2 * inside > stream.blocks)
        if severity is None:
            return None
        growth = measured.column(Quantity.RESIDUAL_GROWTH, stream)
        blamed = tuple(i for i, value in enumerate(growth) if value >= self.lasting_growth)
        if factor is not None:
            having = {one.name for one in factor.residuals}
            blamed = tuple(i for i, one in enumerate(stream.residuals) if one.name in having)
        return _GrowingStream(stream, severity, forward, backward, blamed or tuple(range(stream.blocks)), factor)

    def _severity(
        self, stream: Stream, forward: Growth, backward: Growth, history: History, *, normalised: bool
    ) -> Severity | None:
        total = forward.steady_total
        lasting = forward.per_block >= self.lasting_growth and forward.later >= self.lasting_growth
        # Slower, but over so many blocks that the later half alone reaches its share of a warning: linear growth never does.
        slow = (
            not normalised and total >= self.warning_change and forward.later_factor >= math.sqrt(self.warning_change)
        )
        if not (lasting or slow):
            return None
        largest = stream.format.largest
        if any(way.overflow_block(largest, peak=self.peak) <= stream.blocks for way in (forward, backward)):
            return Severity.CRITICAL
        both = total >= self.critical_change and backward.steady_total >= self.critical_change
        if both and epsilon_of(history.last.optimizer) is None:
            return Severity.CRITICAL
        drowns = not normalised and total >= self.drowning_change and starts_far_above(history) > 0
        if total >= self.warning_change or drowns:
            return Severity.WARNING
        return None if normalised else Severity.INFO

    def _finding(
        self, growing: Sequence[_GrowingStream], measured: Measured, history: History, start: float = math.nan
    ) -> Finding:
        worst = max(growing, key=lambda one: one.forward.steady_total)
        message = self._message(worst, measured)
        if len(growing) > 1:
            message += f" The same happens in {phrases.count(len(growing) - 1, 'other stream')} of the network."
        evidence, expected = _numbers(worst, measured)
        if start > 0:
            message += f" The first loss is {phrases.number(start)}: the output is far too large to begin with."
            evidence["first_loss"] = Figure(start)
            if (guess := guessing_loss(history.structure)) > 0:
                expected["first_loss"] = Figure(guess, "by guessing")
        return Finding(
            rule=self.name,
            code=self.code,
            severity=max(one.severity for one in growing),
            layers=tuple(one.stream.residuals[i].name for one in growing for i in one.blamed),
            step=history.last.step,
            message=message,
            evidence=evidence,
            expected=expected,
            remedy=_remedy(growing, history, self.lasting_growth),
            source=self.source,
        )

    def _drowned(self, history: History) -> list[Drowned]:
        """Return the streams whose branches started far too large, in a run that began with these weights."""
        first = history.records[0]
        if first.step > 0 or not is_fresh(first, history.structure):
            return []
        return drowned_streams(first, history.structure, branch=self.drowning_branch, layer=self.large_layer)

    def _drowned_finding(self, drowned: Sequence[Drowned], history: History) -> Finding:
        worst = max(drowned, key=lambda one: one.branch)
        layers = list({layer.name: layer for one in drowned for layer in one.layers}.values())
        message = (
            f"Each branch of the residual stream from {worst.stream.residuals[0].name} to {worst.stream.residuals[-1].name} starts"
            f" from a normalised signal and adds a variance of {phrases.number(worst.branch)}, where 1 or less is usual: what"
            f" enters the first block (variance {phrases.number(worst.entering)}) is lost beside it, and the normalisation at the"
            f" end hides how large the stream has become. The initial weights make it so: those of {worst.worst.name} multiply"
            f" the variance by {phrases.number(worst.gain)}, where {phrases.number(healthy_gain(worst.worst))} keeps it. Steps of"
            " a usual size change weights that large by next to nothing."
        )
        return Finding(
            rule=self.name,
            code=self.code,
            severity=Severity.WARNING,
            layers=tuple(layer.name for layer in layers),
            step=history.last.step,
            message=message,
            evidence={
                "branch_variance": Figure(worst.branch, "of a branch, median"),
                "gain_from_weights": Figure(worst.gain, "fan_in · Var(W)"),
            },
            expected={
                "branch_variance": Figure(1.0, "or less"),
                "gain_from_weights": Figure(healthy_gain(worst.worst), "fan_in · Var(W)"),
            },
            remedy=snippets.advice(
                "Initialise the weights inside these branches for what follows them, before training; a branch may start at zero.",
                snippets.initialise(affected_layers.off_too(layers, history, direction=1), among=history.structure),
            ),
            source=self.source,
        )

    def _message(self, growing: _GrowingStream, measured: Measured) -> str:
        stream, forward, backward = growing.stream, growing.forward, growing.backward
        first, last = stream.residuals[0].name, stream.residuals[-1].name
        # Additions in the model's own forward have a number and no name.
        own = first.startswith("#") and last.startswith("#")
        which = f"{first[1:]} to {last[1:]} of the model" if own else f"from {first} to {last}"
        lead = (
            f"Each residual addition {which} multiplies the variance by {phrases.number(forward.per_block)}:"
            f" over {phrases.count(stream.blocks, 'block')} it {phrases.change(forward.total)}."
        )
        if growing.factor is not None:
            return " ".join([lead, stream_factors.told(growing.factor), *self._limit(growing)])
        parts = [lead]
        ratio = measured.median(Quantity.RESIDUAL_VARIANCE_RATIO, stream)
        if math.isfinite(ratio):
            parts.append(
                f"A branch has {phrases.times(ratio)} the variance of its skip, and nothing along the stream compensates for it."
            )
        if backward.per_block >= self.lasting_growth:
            parts.append(f"The gradient also grows {phrases.times(backward.per_block)} per block on its way back.")
        return " ".join([*parts, *self._limit(growing)])

    def _limit(self, growing: _GrowingStream) -> list[str]:
        stream, forward = growing.stream, growing.forward
        form, half = stream.format, FORMATS["float16"]
        block = forward.overflow_block(form.largest)
        limit = f"the largest {form.name} number ({phrases.number(form.largest)})"
        if block <= stream.blocks:
            return [f"Its rms passes {limit} at block {block:.0f}."]
        if forward.overflow_block(form.largest, peak=self.peak) <= stream.blocks:
            return [f"Its largest elements ({self.peak:.0f} times the rms) pass {limit} within these blocks."]
        if block <= phrases.WORTH_SAYING * stream.blocks:
            return [f"At this pace its rms passes {limit} at block {block:.0f}."]
        block = forward.overflow_block(half.largest)
        if block <= phrases.WORTH_SAYING * stream.blocks:
            return [
                f"In float16 its rms would pass the largest number ({phrases.number(half.largest)}) at block {block:.0f}."
            ]
        return []


def _as_made(finding: Finding, history: History) -> Finding:
    """Return a finding with the cause and the remedy of what training made: the branches were fine as they began."""
    message = f"{finding.message} {made_by_training.told(history, direction=1, weights=False)}"
    return replace(finding, message=message, remedy=made_by_training.remedy(history, direction=1))


def _numbers(growing: _GrowingStream, measured: Measured) -> tuple[dict[str, Figure], dict[str, Figure]]:
    stream, forward, backward = growing.stream, growing.forward, growing.backward
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


def _remedy(growing: Sequence[_GrowingStream], history: History, lasting_growth: float) -> str:
    factors = [one.factor for one in growing if one.factor is not None]
    if factors:  # what the others need is told when it is gone
        return stream_factors.remedy(max(factors, key=lambda one: one.factor))
    structure = history.structure
    blocks = max(v.stream.blocks for v in growing)
    sentence = (
        "Start the branches at zero, normalise inside them, multiply each sum by 1/sqrt(2), or weigh block k as"
        f" alpha·x + beta·F(x) with alpha = sqrt((k-1+L)/(k+L)), beta = 1/sqrt(k+L), L = {blocks} (RescaleNet)."
    )
    named, every = sum(len(v.blamed) for v in growing), sum(v.stream.blocks for v in growing)
    if named < every:
        sentence += (
            f" The code is for the {named} of {every} branches whose addition multiplies the variance by"
            f" {phrases.number(lasting_growth)} or more; the others add less."
        )
    blamed = [v.stream.residuals[i] for v in growing for i in v.blamed]
    inside = {name for residual in blamed for name in residual.layers}
    # An output layer of He's weights is twice as large as it need be: that is a choice, and does no harm to a stream that is mended.
    certain = affected_layers.off_too([], history, direction=1, least=affected_layers.FAR_INSIDE[1])
    also = [x for x in certain if x.name not in inside]
    if also:
        sentence += f" The weights of {phrases.names(list(dict.fromkeys(x.name for x in also)))} are too large as well."
    code = [small_branches.start_small([v.stream.residuals[i] for i in v.blamed], structure) for v in growing]
    return snippets.advice(sentence, snippets.together(*code, snippets.initialise(also, among=structure)))
