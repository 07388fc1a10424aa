"""Whether the positions of a sample (tokens, queries, nodes, pixels) become alike on their way to an output that has positions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.analysis.lost_samples import ends_of
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Layer, StepRecord, Structure

ROUNDING = 5e-7
"""Part of E[x²] up to which a difference of two mean squares is rounding: four times what float32 tells apart."""

OFF_CENTRE = 1e3
"""E[x²] over Var(x) up to which that rounding is below a thousandth of the variance."""


class AlikePositions(NamedTuple):
    """An output whose positions are alike, although its samples are not.

    Attributes:
        end: the layer that makes it.
        start: the first of the layers before it, without a break, at which they are alike.
        least: ``end``, or the weight layer before it if that has less.
        share: of its variance that lies between positions.
        entering: the largest share before.
        exact: they are one and the same, but for rounding, at the end itself.
        sudden: they are so at ``start`` already.
    """

    end: Layer
    start: Layer
    least: Layer
    share: float
    entering: float
    exact: bool
    sudden: bool


def alike_positions(record: StepRecord, structure: Structure, *, faint: float, varies: float) -> AlikePositions | None:
    """Return the output whose positions are alike at one step; ``None`` if there is none, or not all outputs are so.

    Args:
        record: of the step.
        structure: the network.
        faint: part of the share of the layers before it that may be left.
        varies: share of the variance that has to lie between samples.
    """
    found = [_at(end, record, structure, faint=faint, varies=varies) for end in ends_of(structure)]
    return found[0] if found and all(one is not None for one in found) else None


def _at(end: Layer, record: StepRecord, structure: Structure, *, faint: float, varies: float) -> AlikePositions | None:
    table = record.layer_table
    own, between = table.at(end.name, Quantity.POSITION_SHARE), table.at(end.name, Quantity.BETWEEN_SAMPLE_SHARE)
    variance = table.at(end.name, Quantity.VARIANCE)
    beside = table.at(end.name, Quantity.MEAN_SQUARE) / variance if variance > 0 else math.nan
    if not (between >= varies and beside <= OFF_CENTRE and math.isfinite(own)):
        return None
    along = [x for x in structure.layers[: end.depth + 1] if math.isfinite(table.at(x.name, Quantity.POSITION_SHARE))]
    shares = [table.at(layer.name, Quantity.POSITION_SHARE) for layer in along]
    weights = [i for i, layer in enumerate(along) if layer.role is Role.WEIGHT]
    entering = max(shares)
    # A head that starts small may show more of its own than of what it reads.
    least = min((len(along) - 1, *weights[-2:]), key=lambda i: shares[i])
    share = shares[least]
    exact = own <= ROUNDING * beside
    bar = ROUNDING * OFF_CENTRE if exact else faint * entering
    if not exact and share > bar:
        return None
    first = _start(shares, bar)
    return AlikePositions(end, along[first], along[least], share, entering, exact, shares[first] <= ROUNDING)


def _start(shares: Sequence[float], bar: float) -> int:
    first = len(shares) - 1
    while first > 0 and shares[first - 1] <= bar:
        first -= 1
    return first
