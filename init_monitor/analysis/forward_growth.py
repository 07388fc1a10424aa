"""How the signal grows or fades over the depth of a segment, and which layers make it do so."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis import residual_branches
from init_monitor.analysis.medians import median
from init_monitor.analysis.segments import bounded_exp, by_level, log_of, theil_sen
from init_monitor.records import Role
from init_monitor.records.once import once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.analysis.between_layers import Passage
    from init_monitor.analysis.forward_profile import ForwardProfile
    from init_monitor.analysis.segments import Segment
    from init_monitor.records import Column, Severity, Structure

_NET_LAYERS = 3
"""The end of a segment is the median of this many levels, so that a head with small weights does not count as decay."""

BLAME_FACTOR = 1.5
"""A layer is to blame if its gain is off by more: half-way (in logarithm, rounded up) to the factor 2 that separates
He from Xavier in front of a ReLU, and two standard deviations of what chance does to a layer of 128 units."""

BLAME_SHARE = 0.25
"""A layer shares the blame only if its gain is off by at least this part (in logarithm) of the worst one's: next to one
layer that is off a thousandfold, those that are at 1.6 by chance are not at fault."""


class DepthChange(NamedTuple):
    """What is wrong in one segment: how its signal changes over depth.

    Attributes:
        segment: which.
        severity: by consequence.
        growth: variance factor per layer (1 where nothing can be said).
        total: variance factor over the segment.
        blamed: positions in the segment of the layers whose gain is off.
        worst: position of the one whose gain is off most; ``None`` if no gain is.
        until: further layers before the number format ends.
        silent_from: position from which the signal is exactly constant; ``None`` if it is not.
        limit: position of the layer whose numbers reach the end of the format without much growth; else ``None``.
        since: step since which the weights have shrunk, where that is what ``growth`` and ``total`` are about.
        between: the places between layers that are the cause, by the position of the layer behind them; then no layer is blamed.
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
    since: int | None = None
    between: Mapping[int, Passage] = MappingProxyType({})


class Trend(NamedTuple):
    """How the signal changes over a segment, as far as it goes in one direction.

    Attributes:
        direction: 1 for a signal that grows, -1 for one that fades.
        slope: log variance per layer.
        total: log variance over the segment.
        until: further layers before the number format ends.
    """

    direction: int
    slope: float
    total: float
    until: float


def trend(at: ForwardProfile, *, direction: int) -> Trend:
    """Return how the signal changes over a segment.

    One level has no slope, but its numbers may reach the end of the format all the same: slope and total are then 0.
    """
    levels, profile = at.profile(direction)
    slope = theil_sen(levels, profile) if len(levels) > 1 else 0.0
    robust = slope * float(levels[-1] - levels[0]) if len(levels) else 0.0
    net = float(median(profile[-_NET_LAYERS:]) - profile[0]) if len(levels) else 0.0
    if direction > 0:
        return Trend(direction, slope, max(robust, net), at.layers_until_overflow(slope))
    return Trend(direction, slope, min(robust, net), at.layers_until_underflow(slope))


def depth_change(at: ForwardProfile, change: Trend, severity: Severity, factor: float) -> DepthChange:
    """Return what a segment shows, with the layers that are to blame: those whose gain is off by ``factor`` or more."""
    off = at.off(change.direction)
    blamed = to_blame(off, factor) if accounts_for(off, at.segment, change.total, change.direction) else ()
    worst = max(blamed, key=lambda i: float(off[i]), default=None)
    return DepthChange(
        at.segment, severity, bounded_exp(change.slope), bounded_exp(change.total), blamed, worst, change.until
    )


def shrunk_since(at: ForwardProfile, began: ForwardProfile, step: int, severity: Severity) -> DepthChange:
    """Return how much less of the signal the weights of a segment let through than at an earlier ``step``."""
    lost = np.maximum(log_of(began.weights_give) - log_of(at.weights_give), 0.0)
    total = float(np.sum(by_level(at.segment.levels, lost)[1]))
    blamed = to_blame(lost, BLAME_FACTOR)
    worst = max(blamed, key=lambda i: float(lost[i]), default=None)
    growth = bounded_exp(-total / max(at.segment.depth, 1))
    return DepthChange(at.segment, severity, growth, bounded_exp(-total), blamed, worst, math.inf, since=step)


def to_blame(off: Column, factor: float) -> tuple[int, ...]:
    """Return the positions whose gain is off, in the direction of the symptom, by enough to have caused it.

    >>> to_blame(np.log([1.2, 512.0, 1.6, 600.0]), 1.5)
    (1, 3)
    """
    known = off[~np.isnan(off)]
    bar = max(math.log(factor), BLAME_SHARE * float(known.max(initial=0.0)))
    return tuple(int(i) for i in np.flatnonzero(off > bar))


def accounts_for(off: Column, segment: Segment, total: float, direction: int) -> bool:
    """Say whether what the layers lose accounts for half, in logarithm, of a signal that fades by ``total``; growth is theirs.

    The rest is lost between them, where no weight is: in a mean, in a sum with small weights.

    Args:
        off: ``[layers]``, by how much each lets it fade too far; NaN where unknown.
        segment: the layers.
        total: log variance over the segment.
        direction: 1 for a signal that grows, -1 for one that fades.
    """
    if direction > 0 or np.isnan(off).all():
        return True
    return 2 * float(np.sum(by_level(segment.levels, np.fmax(off, 0.0))[1])) >= abs(total)


@once
def in_branches(structure: Structure) -> frozenset[str]:
    """Return the names of the layers that lie in a residual branch: the signal also goes past them."""
    return frozenset(
        layer.name for residual in structure.residuals for layer in residual_branches.layers_of(residual, structure)
    )


def is_renewed(at: ForwardProfile, structure: Structure, least_variance: float) -> bool:
    """Say whether a normalisation follows a segment that ends with ``least_variance`` or more: it restores the scale."""
    last = at.segment.indices[-1]
    after = structure.layers[last + 1 : last + 2]
    renewed = structure.layers[last].normalised or any(layer.role is Role.NORMALISATION for layer in after)
    end = at.deepest(at.variance)
    return renewed and end is not None and bool(at.variance[end] >= least_variance)
