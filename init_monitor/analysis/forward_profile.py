"""The forward numbers of a segment, side by side: variances, gains, and the room left in the number format."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis.dtypes import format_of, layers_until
from init_monitor.analysis.gains import healthy_gain
from init_monitor.analysis.medians import median
from init_monitor.analysis.residual_correction import beside_the_branch, by_additions, on_the_stream
from init_monitor.analysis.segments import Segment, bounded_exp, by_level, log_of, theil_sen
from init_monitor.records import INPUT, PARAMETER
from init_monitor.records.once import once
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from init_monitor.records import Column, StepRecord, Structure

HEADROOM = 2.0
"""Overflow is in reach if a largest element this much larger would overflow: one more batch can bring it."""


@once
def rows_of(structure: Structure, names: tuple[str, ...]) -> NDArray[np.intp]:
    """Return the row of each layer of the structure in a table of these names; -1 for one that it does not have."""
    where = {name: i for i, name in enumerate(names)}
    return np.array([where.get(name, -1) for name in structure.names], dtype=np.intp)


class Signal:
    """The columns of one record, aligned with the structure."""

    def __init__(self, record: StepRecord, structure: Structure) -> None:
        self._order = rows_of(structure, record.names)
        self._complete = bool((self._order >= 0).all())
        self._record = record
        self._forward, self._backward = by_additions(record, structure)
        self._stream = on_the_stream(record, structure)
        self._skip = beside_the_branch(record, structure)

    def column(self, quantity: Quantity, segment: Segment) -> Column:
        """Return a quantity for the layers of a segment; NaN for a layer the record does not have."""
        column = self._record.column(quantity)
        if not self._complete:
            column = np.append(column, np.nan)
        found: Column = column[self._order[segment.where]]
        return found

    def gradient_logs(self, segment: Segment) -> Column:
        """Return the log gradient variance of a segment's layers, minus what residual additions account for.

        For a layer in a short residual branch the gradient on the stream next to it counts.
        """
        indices = segment.where
        own = log_of(self.column(Quantity.GRADIENT_VARIANCE, segment))
        stream = self._stream[indices]
        return np.asarray(np.where(np.isnan(own) | np.isnan(stream), own, stream) - self._backward[indices])

    def of(self, segment: Segment) -> ForwardProfile:
        """Return the numbers of one segment."""
        gain = self.column(Quantity.GAIN, segment)
        weights_give = self.column(Quantity.EXPECTED_GAIN, segment)
        return ForwardProfile(
            segment,
            variance=self.column(Quantity.VARIANCE, segment),
            abs_max=self.column(Quantity.ABS_MAX, segment),
            gain=np.where(np.isfinite(gain), gain, weights_give),
            weights_give=weights_give,
            accounted=self._forward[segment.where],
            skip=self._skip[segment.where],
            arriving=self.column(Quantity.INPUT_VARIANCE, segment),
        )


@once
def signal_of(record: StepRecord, structure: Structure) -> Signal:
    """Return the columns of a record, aligned with a structure; the same object for all who ask."""
    return Signal(record, structure)


@dataclass(frozen=True)
class ForwardProfile:
    """The forward numbers of one segment, by position; ``skip`` is the log variance of what bypasses a branch."""

    segment: Segment
    variance: Column
    abs_max: Column
    gain: Column
    weights_give: Column
    accounted: Column
    skip: Column
    arriving: Column

    def healthy(self) -> Column:
        """Return the gain each layer needs; NaN where none is asked for."""
        return _healthy(self.segment)

    def gain_excess(self) -> Column:
        """Return by how much, in natural logarithm, each gain is too large; NaN where unknown."""
        return log_of(self.gain) - log_of(self.healthy())

    def off(self, direction: int) -> Column:
        """Return by how much, in natural logarithm, each layer lets the signal grow (``direction`` 1) or fade (-1); NaN where unknown.

        A layer that receives next to nothing but a constant makes a small gain, Var(out)/E[in²], of weights that are as they
        should be: it fades by what its weights lose as well, or it is not at fault.
        """
        measured = self.gain_excess() * direction
        if direction > 0:
            return measured
        given = (log_of(self.weights_give) - log_of(self.healthy())) * direction
        return np.where(np.isfinite(given), np.minimum(measured, given), measured)

    def profile(self, direction: int = 1) -> tuple[Column, Column]:
        """Return levels and log variances, led by the level of what enters the segment.

        The input is put on the scale of the outputs: the variance that the first layer would have had with a healthy
        gain. So the first layer is judged too, and the scale of the input is not. What residual additions account for is
        taken out; and where it is asked whether the signal fades (``direction`` -1), what a skip carries past a short
        branch counts for the branch.
        """
        logs = log_of(self.variance)
        carried = (self.skip > logs) & (direction < 0)
        logs = np.where(carried, self.skip, logs) - self.accounted
        levels, profile = by_level(self.segment.levels, logs)
        entering = self._entering(logs, carried)
        if math.isfinite(entering) and levels.size and levels[0] == self.segment.levels[0]:
            levels, profile = np.append(levels[0] - 1, levels), np.append(entering, profile)
        return levels, profile

    def deepest(self, values: Column) -> int | None:
        """Return the last position that has a finite positive value."""
        usable = np.flatnonzero(np.isfinite(values) & (values > 0))
        return int(usable[-1]) if usable.size else None

    def layers_until_overflow(self, slope: float) -> float:
        """Return after how many more layers the largest element overflows; 0 if a variance already did."""
        if np.isposinf(self.variance).any() or np.isposinf(self.abs_max).any():
            return 0.0
        i = self.deepest(self.abs_max)
        if i is None:
            return math.inf
        largest = format_of(self.segment.layers[i].dtype).largest
        reached = float(self.abs_max[i])
        return 0.0 if reached >= largest else layers_until(reached, largest, bounded_exp(slope))

    def layers_until_underflow(self, slope: float) -> float:
        """Return after how many more layers the rms is no normal number of the format."""
        i = self.deepest(self.variance)
        if i is None:
            return math.inf
        smallest = format_of(self.segment.layers[i].dtype).smallest_normal
        rms = math.sqrt(float(self.variance[i]))
        return 0.0 if rms < smallest else layers_until(rms, smallest, bounded_exp(slope))

    def overflows_next(self) -> bool:
        """Say whether a further layer at the pace of the last ones, or a slightly larger element, overflows."""
        levels, logs = by_level(self.segment.levels, log_of(self.variance))
        slope = theil_sen(levels, logs)
        reach = max(HEADROOM, bounded_exp(slope / 2)) if math.isfinite(slope) else HEADROOM
        with np.errstate(over="ignore"):
            return bool((self.abs_max * reach > _largest(self.segment)).any())

    def fullest(self) -> int | None:
        """Return the position whose largest element comes closest to the limit of its format."""
        ends = _largest(self.segment)
        share = np.where(np.isnan(self.abs_max), -1.0, self.abs_max / ends)
        return int(np.argmax(share)) if (share >= 0).any() else None

    def silent_from(self) -> int | None:
        """Return the position from which every output is constant, over two levels or more to the segment's end.

        One last layer with zero weights is a healthy start (a head, the end of a residual branch); two in a row are
        not. A constant that is given to the network (the zeros that the queries of a decoder start from) is no signal
        that could have stopped.
        """
        measured = np.flatnonzero(~np.isnan(self.variance))
        alive = np.flatnonzero(self.variance > 0)
        silent = [int(i) for i in measured if not alive.size or i > alive[-1]]
        if silent and {*self.segment.layers[silent[0]].inputs} <= {INPUT, PARAMETER} and self.arriving[silent[0]] == 0:
            return None
        return silent[0] if len({self.segment.levels[i] for i in silent}) > 1 else None

    def silenced_by(self, start: int) -> tuple[int, ...]:
        """Return the positions to blame for a signal that is constant from ``start`` onwards.

        Those with constant weights, if there are any; else the layer before, whose activation lets nothing through.
        """
        constant = tuple(int(i) for i in np.flatnonzero(self.weights_give[start:] == 0) + start)
        if constant or not start or np.isnan(self.weights_give[start]):
            return constant or (start,)
        return (start - 1,)

    def _entering(self, logs: Column, carried: NDArray[np.bool_]) -> float:
        """Return the log variance that the first layers would have had with a healthy gain; NaN if unknown.

        The measured gain and the one that the weights give must agree on the direction, and the smaller counts: a bias
        on top of a faint input makes the measured one huge without any signal growing. Where a skip counts for a layer
        (``carried``) it is what enters, whatever the layer's gain.
        """
        measured = self.gain_excess()
        given = log_of(self.weights_give) - log_of(self.healthy())
        given = np.where(np.isfinite(given), given, measured)
        agreed = np.where(np.abs(measured) < np.abs(given), measured, given)
        agreed = np.where((measured * given < 0) | carried, 0.0, agreed)
        entering = (logs - agreed)[np.asarray(self.segment.levels) == self.segment.levels[0]]
        entering = entering[np.isfinite(entering)]
        return median(entering) if entering.size else math.nan


@once
def _healthy(segment: Segment) -> Column:
    return np.array([healthy_gain(layer) for layer in segment.layers])


@once
def _largest(segment: Segment) -> Column:
    """Return the largest number of each layer's format."""
    return np.array([format_of(layer.dtype).largest for layer in segment.layers])
