"""Residual streams: chains of additions, each onto the sum of the one before, and how fast the variance grows along one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis.dtypes import Format, format_of, layers_until
from init_monitor.analysis.medians import median
from init_monitor.analysis.segments import bounded_exp, log_of, theil_sen
from init_monitor.records.once import Keeping, once
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from init_monitor.records import Column, Residual, StepRecord, Structure


@dataclass(frozen=True)
class Stream(Keeping):
    """Residual additions in a row: the skip of each is the sum of the one before.

    Attributes:
        residuals: in execution order; the first starts where a layer or a normalisation made a new skip.
    """

    residuals: tuple[Residual, ...]

    @property
    def blocks(self) -> int:
        """Additions of the stream."""
        return len(self.residuals)

    @property
    def format(self) -> Format:
        """The format with the smallest range that a sum of the stream is stored in."""
        return min((format_of(residual.dtype) for residual in self.residuals), key=lambda form: form.largest)


@once
def streams(structure: Structure) -> tuple[Stream, ...]:
    """Return the streams of a network in execution order; nested and long additions are in none.

    A stream ends where its sum is normalised, and where the next addition takes its skip from somewhere else (the map
    of a projection, another layer).
    """
    chains: list[list[Residual]] = []
    ending_in: dict[str, list[Residual]] = {}
    for residual in structure.residuals:
        if residual.nested or residual.long:
            continue
        # A second addition that starts from the same sum is a stream of its own.
        chain = ending_in.pop(residual.follows or residual.skip, None)
        if chain is None:
            chain = []
            chains.append(chain)
        chain.append(residual)
        if not residual.normalised:
            ending_in[residual.name] = chain
    return tuple(Stream(tuple(chain)) for chain in chains)


@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """Variances along a stream of n blocks: n + 1 levels, before the first block and after each.

    Attributes:
        variance: by level; NaN where not measured, infinite where it is past every number.
    """

    variance: Column

    @property
    def per_block(self) -> float:
        """Variance factor per block: robust (Theil-Sen on the logarithm); NaN with fewer than two levels."""
        return _pace(*self._measured())

    @property
    def later(self) -> float:
        """The same over the later half of the levels alone, where growth that is only linear has become slow."""
        return _pace(*self._later_half())

    @property
    def later_factor(self) -> float:
        """Variance factor over the later half of the levels, at its robust pace; NaN if not measured."""
        levels, logs = self._later_half()
        return _over(levels, _pace(levels, logs))

    @property
    def total(self) -> float:
        """Variance factor from the first measured level to the last; NaN if not measured."""
        _, logs = self._measured()
        return bounded_exp(float(logs[-1] - logs[0])) if logs.size > 1 else math.nan

    @property
    def steady_total(self) -> float:
        """The total, or what the robust pace gives over as many blocks if that is less: a single jump is no growth."""
        levels, logs = self._measured()
        return min(self.total, _over(levels, _pace(levels, logs)))

    @property
    def measured_blocks(self) -> int:
        """Levels measured after the first one."""
        return max(len(self._measured()[0]) - 1, 0)

    @property
    def predicted(self) -> float:
        """Variance after the last block: measured, or from the last measured level at the robust pace."""
        levels, logs = self._measured()
        if not levels.size:
            return math.nan
        remaining = len(self.variance) - 1 - float(levels[-1])
        return bounded_exp(float(logs[-1]) + (remaining * math.log(self.per_block) if remaining else 0.0))

    def overflow_block(self, largest: float, *, peak: float = 1.0) -> float:
        """Return after how many blocks of the stream ``peak`` times the rms passes ``largest``; infinite if never.

        A level that passed it counts as it was measured; from the last level on, the robust pace goes on.
        """
        with np.errstate(invalid="ignore"):
            passed = np.flatnonzero(np.sqrt(self.variance) * peak >= largest)
        levels, logs = self._measured()
        if passed.size or not levels.size:
            return float(passed[0]) if passed.size else math.inf
        return float(levels[-1]) + layers_until(math.exp(float(logs[-1]) / 2) * peak, largest, self.per_block)

    def _measured(self) -> tuple[Column, Column]:
        """Return the levels that were measured, and the logarithms of their variances."""
        logs = log_of(self.variance)
        known = np.flatnonzero(np.isfinite(logs))
        return known.astype(np.float64), logs[known]

    def _later_half(self) -> tuple[Column, Column]:
        levels, logs = self._measured()
        return levels[len(levels) // 2 :], logs[len(levels) // 2 :]


def _pace(levels: Column, logs: Column) -> float:
    return bounded_exp(theil_sen(levels, logs)) if levels.size > 1 else math.nan


def _over(levels: Column, pace: float) -> float:
    return bounded_exp(math.log(pace) * float(levels[-1] - levels[0])) if levels.size > 1 else math.nan


@once
def _rows_of(stream: Stream, names: tuple[str, ...]) -> NDArray[np.intp]:
    """Return the row of each addition in a table of these names; -1 for one that it does not have."""
    where = {name: i for i, name in enumerate(names)}
    return np.array([where.get(residual.name, -1) for residual in stream.residuals], dtype=np.intp)


class Measured:
    """The residual columns of one record, by stream."""

    def __init__(self, record: StepRecord) -> None:
        self.record = record

    def column(self, quantity: Quantity, stream: Stream) -> Column:
        """Return a quantity for the additions of a stream; NaN for one the record does not have."""
        order = _rows_of(stream, self.record.residual_names)
        column = np.append(self.record.column(quantity), np.nan)
        return np.asarray(column[order], dtype=np.float64)

    def median(self, quantity: Quantity, stream: Stream) -> float:
        """Return the median of a quantity over the stream; NaN if it was not measured."""
        column = self.column(quantity, stream)
        finite = column[np.isfinite(column)]
        return median(finite) if finite.size else math.nan

    def forward(self, stream: Stream) -> Growth:
        """Return the variances of what enters each block, and of what leaves the last."""
        entering = self.column(Quantity.RESIDUAL_SKIP_VAR, stream)
        sums = self.column(Quantity.RESIDUAL_SUM_VAR, stream)
        with np.errstate(divide="ignore", invalid="ignore"):
            kept = entering[1:] / sums[:-1]
        # An activation on the stream (ResNet's last ReLU) keeps only a part of each sum, and would of the last.
        kept = kept[np.isfinite(kept) & (kept > 0)]
        leaving = sums * (median(kept) if kept.size else 1.0)
        levels = np.append(entering, leaving[-1])
        levels[1:] = np.where(np.isnan(levels[1:]), leaving, levels[1:])
        return Growth(levels)

    def backward(self, stream: Stream) -> Growth:
        """Return the variances of the gradient, from the end of the stream back to its beginning."""
        entering = self.column(Quantity.RESIDUAL_SKIP_GRADIENT_VAR, stream)[:1]
        sums = self.column(Quantity.RESIDUAL_SUM_GRADIENT_VAR, stream)
        return Growth(np.append(entering, sums)[::-1])
