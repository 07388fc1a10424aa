"""The rows of a step on the host, read as whole columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from init_monitor.measures import finalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from init_monitor.capture.accumulator import Accumulator
    from init_monitor.capture.drained import Drained
    from init_monitor.records import Column
    from init_monitor.records.quantities import Quantity

    Index = NDArray[np.intp]

_NONE = -1
"""What stands in an index for a row that does not exist: all its numbers are NaN."""


class Reader:
    """Reads the drained rows of every device.

    Args:
        drained: by accumulator, as :meth:`init_monitor.capture.accumulator.Accumulator.drain` gave it.
    """

    def __init__(self, drained: Mapping[Accumulator, Drained]) -> None:
        """Finalise all rows at once."""
        self._drained = drained
        self._begins: dict[Accumulator, tuple[int, int]] = {}
        rows = 0
        for accumulator, one in drained.items():
            self._begins[accumulator] = rows, len(one.rows)
            rows += len(one.rows)
        columns = [finalise(one.rows) for one in drained.values()]
        self._columns: dict[str, Column] = {}
        for name in columns[0] if columns else ():
            # One extra row, which an index of -1 reads.
            self._columns[name] = np.concatenate([*(each[name] for each in columns), [np.nan]])
        self._arrived = np.zeros(rows + 1, dtype=np.bool_)
        if columns:
            # NaN, where no row is, is not above 0.
            self._arrived = self._columns["count"] + self._columns["nonfinite_count"] > 0
            for column in self._columns.values():
                column[~self._arrived] = np.nan

    def index(self, places: Iterable[tuple[Accumulator, int]]) -> Index:
        """Return where the rows of these numbers are; a row that does not exist reads as NaN."""
        if len(self._begins) == 1:  # as a rule there is one device, and every row is on it
            _, rows = next(iter(self._begins.values()))
            index = np.array([row for _, row in places], dtype=np.intp)
            index[(index < 0) | (index >= rows)] = _NONE
            return index
        found = []
        for accumulator, row in places:
            begin, rows = self._begins.get(accumulator, (0, 0))
            found.append(begin + row if 0 <= row < rows else _NONE)
        return np.array(found, dtype=np.intp)

    def column(self, index: Index, name: str) -> Column:
        """Return a finalised number of each row of an index; NaN for one that does not exist or received nothing."""
        known = self._columns.get(name)
        return np.full(len(index), np.nan) if known is None else known[index]

    def arrived(self, index: Index) -> NDArray[np.bool_]:
        """Say for each row whether any element, finite or not, reached it in this step."""
        return self._arrived[index]

    def norm(self, index: Index) -> Column:
        """Return the Euclidean norm of what each row holds."""
        return np.sqrt(self.column(index, "count") * self.column(index, "mean_square"))

    def drained(self, accumulator: Accumulator) -> Drained:
        """Return the raw rows and units of one device."""
        return self._drained[accumulator]


def empty_columns(
    quantities: Iterable[Quantity], rows: int, given: Mapping[Quantity, Column] | None = None
) -> dict[Quantity, Column]:
    """Return a column of each quantity: one that is given, or NaN; those in one piece, as there are dozens of them."""
    columns: dict[Quantity, Column] = dict.fromkeys(quantities, np.empty(0))
    columns.update(given or {})
    missing = [quantity for quantity in columns if not given or quantity not in given]
    columns.update(zip(missing, np.full((len(missing), rows), np.nan), strict=True))
    return columns


def ratio(over: Column, under: Column) -> Column:
    """Return ``over / under``; NaN where ``under`` is not positive."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(under > 0, over / under, np.nan)
