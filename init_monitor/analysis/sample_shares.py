"""How much of the difference between the samples of a batch is left over depth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.segments import segments
from init_monitor.records import INPUT, Role
from init_monitor.records.once import once
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.records import Column, Layer, StepRecord, Structure

_LEVELS = 2
"""Consecutive layers that must show it: the last one alone may be mostly bias (a head that starts small)."""


class SampleShares(NamedTuple):
    """What is left of the differences between samples, by weight layer.

    Attributes:
        layers: the weight layers whose share is known, in execution order.
        levels: how deep each lies.
        shares: between-sample share relative to that of the first layers.
        entering: share at the first layers.
    """

    layers: tuple[Layer, ...]
    levels: tuple[int, ...]
    shares: Column
    entering: float

    @property
    def arriving(self) -> float:
        """Largest share at the last two levels; NaN with fewer levels than that and one to compare with."""
        depths = sorted(set(self.levels))
        if len(depths) <= _LEVELS:
            return math.nan
        return float(max(s for s, level in zip(self.shares, self.levels, strict=True) if level >= depths[-_LEVELS]))

    def lost_from(self, bar: float) -> int:
        """Return the position from which every layer to the end is below ``bar``."""
        kept = np.flatnonzero(self.shares > bar)
        return int(kept[-1]) + 1 if kept.size else 0


SAME = 1e-10
"""Share of the variance between samples at the first layers at which the samples are one and the same, but for rounding."""


@once
def _known(record: StepRecord) -> Mapping[str, float]:
    """Return the shares of a step that were measured, by layer."""
    shares = record.column(Quantity.BETWEEN_SAMPLE_SHARE).tolist()
    return {name: share for name, share in zip(record.names, shares, strict=True) if not math.isnan(share)}


@once
def entering_share(record: StepRecord, structure: Structure) -> float:
    """Return the share of the variance that lies between samples at the first layers; NaN if it is not known."""
    known = _known(record)
    weights = [layer for layer in structure.layers if layer.role is Role.WEIGHT and layer.name in known]
    entering = max((known[layer.name] for layer in weights if INPUT in layer.inputs), default=math.nan)
    return known[weights[0].name] if math.isnan(entering) and weights else entering


def has_faded(began: SampleShares, record: StepRecord, part: float) -> bool:
    """Say whether so little signal reached the end at the first record that the first biases to grow had to drown it."""
    levels = [record.layer_table.at(layer.name, Quantity.VARIANCE) for layer in began.layers]
    return bool(levels) and levels[-1] <= part * levels[0]


def all_the_same(record: StepRecord, structure: Structure) -> bool:
    """Say whether the batch of a step held one sample only, however often: units then have no second sign to show."""
    return entering_share(record, structure) <= SAME


def sample_shares(record: StepRecord, structure: Structure, least_entering: float) -> SampleShares | None:
    """Return the shares along the last chain of weight layers; ``None`` if the samples are alike, or nothing is known.

    Args:
        record: what was measured.
        structure: the network.
        least_entering: share at the first layers below which the samples of the batch count as alike.
    """
    known, entering = _known(record), entering_share(record, structure)
    if not entering >= least_entering:
        return None
    last = max(segments(structure, through_normalisation=True), key=lambda segment: segment.indices[-1])
    rows = [pair for pair in zip(last.layers, last.levels, strict=True) if pair[0].name in known]
    shares = np.array([known[layer.name] for layer, _ in rows]) / entering
    return SampleShares(tuple(layer for layer, _ in rows), tuple(level for _, level in rows), shares, entering)
