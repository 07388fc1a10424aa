"""Numbers that the forward multiplies a residual stream by: the sum, (x + F(x)) · s, the skip, α·x + F(x), or the branch, x + β·F(x).

A number is known from the forward that was probed, not from what it does to the signal; of a tensor (a parameter, a buffer) that
forward shows that it is there, and the variances around it how large it is (:mod:`init_monitor.analysis.tensor_factors`). One on the
sum or the skip is met again at every block, so a stream of L blocks is multiplied by (s·α)^L, whatever the weights are; no
initialisation of the layers takes that away.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.analysis.medians import median
from init_monitor.analysis.residual_streams import streams
from init_monitor.analysis.tensor_factors import with_known_factors
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from init_monitor.analysis.residual_streams import Measured, Stream
    from init_monitor.records import Residual, StepRecord, Structure

MOST = 0.5
"""Part of a change along a stream, in logarithm, that its factors must account for to be its cause."""


KEPT = 0.49
"""Square of a factor on a sum from which it fades nothing that it should not: 1/√2 keeps the variance where the branch is as large as
the skip. A little less than ½, since people write 0.7."""


class On(Enum):
    """What a factor multiplies."""

    SUM = "sum"
    SKIP = "skip"
    BRANCH = "branch"
    AGAIN = "again"
    """Nothing: the skip is added twice, and the factor is how much larger the sum becomes by it."""


class StreamFactor(NamedTuple):
    """A factor of one stream.

    Attributes:
        on: what it multiplies.
        factor: the number, or the root mean square of the tensor; the median, where the blocks have different ones.
        residuals: the additions that have one.
        tensor: it is a parameter or another tensor, of which this is what was measured.
    """

    on: On
    factor: float
    residuals: tuple[Residual, ...]
    tensor: bool = False


def passed_on(residual: Residual) -> float:
    """Return the factor on the way of the skip through one block; 1 where it is an unknown tensor or 0, of which nothing is said.

    A stream may end with a sum that has another factor (an average over blocks): it counts all the same.
    """
    factor = abs(residual.sum_scale * residual.skip_scale)
    return factor if 0 < factor < math.inf else 1.0


def fades(residual: Residual) -> bool:
    """Say whether the forward multiplies what passes a block by less than keeps its variance."""
    return passed_on(residual) ** 2 < KEPT


def growing_by(stream: Stream, measured: Measured, total: float, structure: Structure) -> StreamFactor | None:
    """Return the factor that makes a stream grow; ``None`` if factors account for less than half of that.

    Args:
        stream: its additions.
        measured: the record.
        total: variance factor over the stream, above 1.
        structure: the network.
    """
    direction = math.log(total)
    along = known_factors(stream.residuals, measured.record, structure)
    carried = sum(2 * math.log(passed_on(one)) for one in along)
    if carried >= MOST * direction:
        return _on_the_way(along, direction, structure)
    ratios = measured.column(Quantity.RESIDUAL_VARIANCE_RATIO, stream)
    scaled = [(one, float(ratio)) for one, ratio in zip(along, ratios, strict=True) if _is_raised(one)]
    # Var(αx + βF) / Var(αx + F), with skip and branch unrelated.
    raised = sum(
        math.log((own + ratio) / (own + ratio / one.branch_scale**2))
        for one, ratio in scaled
        if math.isfinite(ratio) and (own := _own(one) ** 2) > 0
    )
    if not scaled or raised < MOST * direction:
        return None
    found = tuple(one for one, _ in scaled)
    return _factor(On.BRANCH, _median([one.branch_scale for one in found]), found, structure)


def fading_by(layers: Collection[str], total: float, record: StepRecord, structure: Structure) -> StreamFactor | None:
    """Return the factor by which a signal, or its gradient, fades along the streams that some layers lie in.

    Args:
        layers: their names.
        total: variance factor over them, below 1.
        record: what was measured.
        structure: the network.

    Returns:
        ``None`` if factors account for less than half of it.
    """
    if not 0 < total < 1:
        return None
    named = set(layers)
    every = known_factors([one for stream in streams(structure) for one in stream.residuals], record, structure)
    along = [one for one in every if fades(one) and not named.isdisjoint(one.layers)]
    lost = sum(2 * math.log(passed_on(one)) for one in along)
    return _on_the_way(along, -1.0, structure) if along and lost <= MOST * math.log(total) else None


def known_factors(residuals: Sequence[Residual], record: StepRecord, structure: Structure) -> Sequence[Residual]:
    """Return additions with what was measured of a tensor in the place of a factor that is one."""
    known = with_known_factors(record, structure)
    return [known.get(one.name, one) for one in residuals] if known else residuals


def _on_the_way(residuals: Sequence[Residual], direction: float, structure: Structure) -> StreamFactor:
    """Return the factor on the sums or, where that does more, on the skips."""
    found = tuple(one for one in residuals if math.log(passed_on(one)) * direction > 0)
    sums, skips = _median([abs(one.sum_scale) for one in found]), _median([abs(one.skip_scale) for one in found])
    on = On.SUM if abs(math.log(sums or 1.0)) >= abs(math.log(skips or 1.0)) else On.SKIP
    again = tuple(one for one in residuals if one.again)
    if on is On.SUM and 2 * sum(one.again for one in found) > len(found):
        return StreamFactor(On.AGAIN, sums, again)
    return _factor(on, sums if on is On.SUM else skips, found, structure)


def _factor(on: On, factor: float, found: tuple[Residual, ...], structure: Structure) -> StreamFactor:
    written = {one.name: one for one in structure.residuals}
    scales = [_scale(written.get(one.name, one), on) for one in found]
    return StreamFactor(on, factor, found, tensor=any(math.isnan(scale) for scale in scales))


def _scale(residual: Residual, on: On) -> float:
    return {On.SUM: residual.sum_scale, On.SKIP: residual.skip_scale, On.BRANCH: residual.branch_scale}[on]


def _is_raised(residual: Residual) -> bool:
    """Say whether the branch has a factor above 1; an unknown tensor is none."""
    return abs(residual.branch_scale) > 1


def _own(residual: Residual) -> float:
    return 1.0 if math.isnan(residual.skip_scale) else residual.skip_scale


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(median(known)) if known else 1.0
