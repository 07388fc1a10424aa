"""Depth: which weight layers feed which, where a normalisation starts a new segment, and how fast a quantity grows with depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.activations import activation_called
from init_monitor.analysis.medians import median
from init_monitor.records import Role
from init_monitor.records.once import Keeping, once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from init_monitor.records import Column, Layer, Structure


@dataclass(frozen=True)
class Segment(Keeping):
    """Weight layers that feed one another with no normalisation in between.

    Attributes:
        layers: in execution order.
        levels: for each, how many weight layers of the segment lie before it (parallel layers share a level).
        indices: for each, its position in the structure.
        meets: numbers, among the segments of the network, of those that some layer takes as well as this one.
    """

    layers: tuple[Layer, ...]
    levels: tuple[int, ...]
    indices: tuple[int, ...]
    meets: frozenset[int] = frozenset()

    @property
    @once
    def where(self) -> NDArray[np.intp]:
        """The positions in the structure, as an index."""
        return np.array(self.indices, dtype=np.intp)

    @property
    def depth(self) -> int:
        """Weight layers in a row, from the first to the last level."""
        return len(set(self.levels))

    def before(self, position: int) -> Layer | None:
        """Return the layer one level above ``layers[position]``, the nearest in execution order; ``None`` at the top."""
        wanted = self.levels[position] - 1
        return next((self.layers[i] for i in range(position - 1, -1, -1) if self.levels[i] == wanted), None)


class _Position(NamedTuple):
    """Where a tensor is: in which segment, after how many of its weight layers (level -1: none yet), and of all (depth)."""

    segment: int
    level: int
    depth: int = -1


_SIDE = 0.5
"""A chain that meets another counts as a branch, not a side input, if it has this fraction of the other's weight layers."""


@once
def segments(structure: Structure, *, through_normalisation: bool = False) -> tuple[Segment, ...]:
    """Split the weight layers of a network into segments, in execution order.

    A layer is placed behind the deepest of the layers that feed it. One that takes the network's input, or of whose
    input nothing is known, starts a segment: what ran before it need not have anything to do with it. So does one that
    two branches feed: its signal is that of neither.

    Args:
        structure: the network.
        through_normalisation: do not start a new segment at a normalisation, nor where branches meet (gradients are not renewed
            there: what comes back goes on into each branch).
    """
    places: dict[str, _Position] = {}
    members: dict[int, list[tuple[Layer, int, int]]] = {}
    meetings: list[frozenset[int]] = []
    fresh = -1
    start: _Position | None = None
    call = ""
    for index, layer in enumerate(structure.layers):
        known = [places[name] for name in layer.inputs if name in places]
        if _call_of(layer) != call:
            call, start = _call_of(layer), None
        if known:
            place = max(known, key=lambda p: (p.level, p.segment))
            met = _branches(known)
            if len(met) > 1:
                meetings.append(met)
                if not through_normalisation:
                    fresh += 1
                    place = _Position(fresh, -1, place.depth)
        else:
            # The outputs of one call (an LSTM's sequence and states) lie side by side, not behind one another.
            if start is None:
                fresh += 1
                start = _Position(fresh, -1)
            place = start
        if layer.role is Role.WEIGHT:
            place = _Position(place.segment, place.level + 1, place.depth + 1)
            members.setdefault(place.segment, []).append((layer, place.level, index))
        anew = layer.role is Role.NORMALISATION or layer.normalised or _sums_to_one(layer)
        if not through_normalisation and anew:
            fresh += 1
            place = _Position(fresh, -1, place.depth)
        places[layer.name] = place
    numbers = {segment: number for number, segment in enumerate(members)}
    return tuple(
        Segment(
            layers=tuple(layer for layer, _, _ in rows),
            levels=tuple(level for _, level, _ in rows),
            indices=tuple(index for _, _, index in rows),
            meets=frozenset(numbers[x] for met in meetings if own in met for x in met if x != own and x in numbers),
        )
        for own, rows in members.items()
    )


def _branches(known: Sequence[_Position]) -> frozenset[int]:
    """Return the segments that meet in a layer: those of about the depth of the deepest, of more than one layer each."""
    deepest = max(p.depth for p in known)
    return frozenset(p.segment for p in known if p.level > 0 and p.depth + 1 >= _SIDE * (deepest + 1))


def _sums_to_one(layer: Layer) -> bool:
    """Say whether a layer makes probabilities, whose sum is one whatever the scale of the input: they start a new segment as well."""
    known = activation_called(layer.kind)
    return known is not None and known.sums_to_one


def _call_of(layer: Layer) -> str:
    """Return the layer's name without the path in its output: ``"lstm#2"`` for ``"lstm#2[1][0]"``."""
    own = layer.name.removeprefix(layer.module)
    return f"{layer.module}{own.partition('[')[0]}"


MOST_POINTS = 512
"""Points of which all pairs are looked at: 130,000 slopes. The median of so many does not move by more."""


@lru_cache(maxsize=4)
def _pairs(points: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(points, k=1)


def theil_sen(x: Column, y: Column) -> float:
    """Return the median of the slopes between all pairs of points; NaN without two points of different x.

    Up to 29 % of the points may be arbitrarily wrong (Theil 1950; Sen 1968), so that one odd layer does not decide. Of more
    than :data:`MOST_POINTS` points, so many are taken, evenly spread: the pairs grow with their square.

    >>> theil_sen(np.arange(5.0), np.array([0.0, 1.0, 2.0, 99.0, 4.0]))
    1.0
    """
    if len(x) > MOST_POINTS:
        taken = np.linspace(0, len(x) - 1, MOST_POINTS).round().astype(np.intp)
        x, y = x[taken], y[taken]
    i, j = _pairs(len(x))
    run = x[j] - x[i]
    apart = run != 0
    if not apart.any():
        return float("nan")
    return median((y[j] - y[i])[apart] / run[apart])


def log_of(values: Column) -> Column:
    """Return the natural logarithm; NaN where a value is zero, negative or not finite."""
    usable = np.isfinite(values) & (values > 0)
    return np.where(usable, np.log(np.where(usable, values, 1.0)), np.nan)


def by_level(levels: Sequence[int], values: Column) -> tuple[Column, Column]:
    """Return the distinct levels and the median of the measured values at each, dropping levels without any."""
    finite = np.isfinite(values)
    measured, array = values[finite], np.asarray(levels)[finite]
    if (array[1:] > array[:-1]).all():  # a plain chain: nothing to take a median of
        return array.astype(np.float64), measured
    kept = np.unique(array)
    return kept.astype(np.float64), np.array([median(measured[array == level]) for level in kept])


def bounded_exp(value: float) -> float:
    """Return e to the ``value``, clipped to the range of float64.

    >>> bounded_exp(0.0), bounded_exp(1e9) < math.inf, bounded_exp(-1e9) > 0
    (1.0, True, True)
    """
    return math.exp(min(max(value, -700.0), 700.0))
