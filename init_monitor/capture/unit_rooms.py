"""Memory in which the compiled kernel sums the units of each row: laid out once, used again at every step.

The readings of a step are cut from a copy of it, so that they keep their numbers when the next step is measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from init_monitor.capture.drained import UnitReading

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMBER = 8
"""Bytes of a float64."""

_FIRST = 1024
"""Numbers that there is room for at first."""

MOST_FORMS = 4
"""Forms of one row, by how many units it has, that are kept from step to step."""


class UnitRoom:
    """Where the units of one row are summed.

    Attributes:
        units: how many.
        dtype: of their extremes, ``None`` if these are not kept.
        at: where their sums begin; the sum of the squares comes after them.
        extremes_at: where the largest and then the smallest values begin, among those of that format.
        addresses: of the sums, the squares, the largest and the smallest values.
        used: something was added in this step.
    """

    __slots__ = ("addresses", "at", "dtype", "extremes_at", "units", "used")

    def __init__(self, units: int, dtype: torch.dtype | None, at: int, extremes_at: int) -> None:
        self.units, self.dtype, self.at, self.extremes_at = units, dtype, at, extremes_at
        self.addresses: tuple[int | None, ...] = ()
        self.used = False


class UnitRooms:
    """The rooms of all rows, by row."""

    def __init__(self) -> None:
        self._rooms: dict[int, list[UnitRoom]] = {}
        self._too_many = False
        self._used: list[tuple[int, UnitRoom]] = []
        self._sums = _Arena(np.float64)
        self._extremes = {torch.float32: _Arena(np.float32), torch.float64: _Arena(np.float64)}

    def of(self, row: int, units: int, dtype: torch.dtype | None) -> tuple[bool, tuple[int | None, ...]]:
        """Return whether a row has sums of so many units in this step already, and the addresses of them.

        Args:
            row: of the tensor.
            units: that it has.
            dtype: of the extremes that are kept; ``None`` for none.
        """
        for room in self._rooms.get(row, ()):
            if room.units == units and room.dtype is dtype:
                more, room.used = room.used, True
                if not more:
                    self._used.append((row, room))
                return more, room.addresses
        return False, self._new(row, units, dtype).addresses

    def drain(self) -> dict[int, list[UnitReading]]:
        """Return what was seen in this step, by row, and start over."""
        found: dict[int, list[UnitReading]] = {}
        sums = self._sums.numbers.copy()
        squares = sums[[room.at + room.units for _, room in self._used]].tolist()
        # A NaN says neither dead nor all positive: it counts as having seen both signs.
        positive = {dtype: ~(arena.numbers <= 0) for dtype, arena in self._extremes.items()}
        nonpositive = {dtype: ~(arena.numbers > 0) for dtype, arena in self._extremes.items()}
        for (row, room), square in zip(self._used, squares, strict=True):
            at, units = room.at, room.units
            highs = lows = None
            if room.dtype is not None:
                begin = room.extremes_at
                highs = positive[room.dtype][begin : begin + units]
                lows = nonpositive[room.dtype][begin + units : begin + 2 * units]
            found.setdefault(row, []).append(UnitReading(sums[at : at + units], square, highs, lows))
        self.discard()
        return found

    def discard(self) -> None:
        """Forget what was seen since the last drain."""
        for _, room in self._used:
            room.used = False
        self._used = []
        # Of a tensor whose units differ in number from batch to batch there would be more and more.
        if self._too_many:
            self._rooms, self._too_many = {}, False
            for arena in (self._sums, *self._extremes.values()):
                arena.empty()

    def _new(self, row: int, units: int, dtype: torch.dtype | None) -> UnitRoom:
        at = self._sums.taken(units + 1)
        extremes_at = 0 if dtype is None else self._extremes[dtype].taken(2 * units)
        room = UnitRoom(units, dtype, at, extremes_at)
        own = self._rooms.setdefault(row, [])
        own.append(room)
        self._too_many = self._too_many or len(own) > MOST_FORMS
        room.used = True
        self._used.append((row, room))
        if self._sums.moved or any(arena.moved for arena in self._extremes.values()):
            for rooms in self._rooms.values():
                for one in rooms:
                    self._find(one)
            for arena in (self._sums, *self._extremes.values()):
                arena.moved = False
        else:
            self._find(room)
        return room

    def _find(self, room: UnitRoom) -> None:
        """Note where the numbers of a room are in memory."""
        sums = self._sums.address(room.at)
        highs = lows = None
        if room.dtype is not None:
            highs, lows = (self._extremes[room.dtype].address(room.extremes_at + k * room.units) for k in (0, 1))
        room.addresses = sums, sums + room.units * _NUMBER, highs, lows


class _Arena:
    """Numbers side by side, of which ever more are taken; they move when there is no room left.

    Args:
        dtype: of the numbers.

    Attributes:
        numbers: those that were taken.
        moved: they did, since somebody last looked where they are.
    """

    def __init__(self, dtype: Any) -> None:  # noqa: ANN401 - what numpy takes for a format
        self._all: NDArray[Any] = np.zeros(0, dtype)
        self.numbers = self._all
        self.moved = False

    def taken(self, count: int) -> int:
        """Take so many, and return where they begin."""
        begin = len(self.numbers)
        if begin + count > len(self._all):
            grown = np.zeros(max(2 * (begin + count), _FIRST), self._all.dtype)
            grown[:begin] = self.numbers
            self._all, self.moved = grown, True
        self.numbers = self._all[: begin + count]
        return begin

    def empty(self) -> None:
        """Let all that was taken be taken anew."""
        self.numbers = self._all[:0]

    def address(self, place: int) -> int:
        """Return the address of a number."""
        return int(self._all.__array_interface__["data"][0]) + place * self._all.itemsize
