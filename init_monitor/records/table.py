"""Numbers by name and quantity: one column per quantity, one entry per layer, parameter or residual addition."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from init_monitor.errors import InitMonitorWarning
from init_monitor.records.quantities import Quantity
from init_monitor.records.registry import quantities

if TYPE_CHECKING:
    from init_monitor.records.facts import Column, Facts, Of

Row = TypeVar("Row")

_broken: set[Facts] = set()
"""Registered quantities that could not be computed; they are not tried again until they are registered again."""


@dataclass(frozen=True, eq=False)
class Table:
    """Columns that are aligned with names.

    Attributes:
        names: of the rows, in execution order.
        columns: one float64 array per quantity; NaN where not measured.
    """

    names: tuple[str, ...] = ()
    columns: Mapping[Quantity, Column] = field(default_factory=dict)

    @cached_property
    def index(self) -> Mapping[str, int]:
        """The row of each name."""
        return _index(self.names)

    def at(self, name: str, quantity: Quantity | str) -> float:
        """Return one number; NaN where there is no such name or it was not measured."""
        column, row = self.columns.get(quantity), self.index.get(name)  # type: ignore[arg-type] # a name is as good
        if column is None:
            known(quantity)
        return math.nan if column is None or row is None else column.item(row)

    def column(self, quantity: Quantity | str) -> Column:
        """Return a quantity over all rows, shape ``[names]``, float64; all NaN if it was not measured."""
        found = self.columns.get(quantity)  # type: ignore[arg-type] # the same
        if found is None:
            known(quantity)
            return np.full(len(self.names), np.nan)
        return found

    def by_name(self, quantity: Quantity | str) -> Mapping[str, float]:
        """Return a quantity of every row, by name."""
        return dict(zip(self.names, self.column(quantity).tolist(), strict=True))

    def derived(self, of: Of) -> Table:
        """Return the table with what registered quantities make of its columns; a column that is there stays.

        One that cannot be made is left out, after one warning.
        """
        made = {}
        for quantity in quantities(of):
            if quantity.facts.derive is None or quantity in self.columns or quantity.facts in _broken:
                continue
            try:
                column = np.asarray(quantity.facts.derive(self.column), dtype=np.float64)
                made[quantity] = np.broadcast_to(column, (len(self.names),))
            except Exception as error:  # noqa: BLE001 - foreign code, the training must not pay for it
                _broken.add(quantity.facts)
                warnings.warn(
                    f"the quantity {quantity} could not be made from the others ({type(error).__name__}: {error}); "
                    f"it is left out from now on. Its derive has to return one number per {of.value}.",
                    InitMonitorWarning,
                    stacklevel=2,
                )
        return Table(self.names, {**self.columns, **made}) if made else self


class Rows(Mapping[str, Row]):
    """Objects by name, each made when it is asked for: a table of hundreds of rows is seldom read whole.

    Args:
        table: says which names there are.
        make: makes the object of a row.
    """

    __slots__ = ("_make", "_table")

    def __init__(self, table: Table, make: Callable[[Table, int], Row]) -> None:
        self._table, self._make = table, make

    def __getitem__(self, name: str) -> Row:
        """Make the object of a name."""
        return self._make(self._table, self._table.index[name])

    def __contains__(self, name: object) -> bool:
        """Say whether there is such a name, without making its object."""
        return name in self._table.index

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in execution order."""
        return iter(self._table.index)

    def __len__(self) -> int:
        """Count the names."""
        return len(self._table.index)

    def __repr__(self) -> str:
        """Show the names."""
        return f"<{len(self)} rows: {', '.join(self)}>"


def known(quantity: Quantity | str) -> Quantity:
    """Return the quantity of a name.

    Raises:
        ValueError: there is none; the message says which there are.
    """
    if isinstance(quantity, Quantity):
        return quantity
    try:
        return Quantity(quantity)
    except ValueError:
        message = f"there is no quantity {quantity!r}; expected one of {', '.join(quantities())}"
        raise ValueError(message) from None


@lru_cache(maxsize=16)
def _index(names: tuple[str, ...]) -> Mapping[str, int]:
    """Return the row of each name. Most steps of a run share one tuple of names, which is indexed once."""
    return {name: row for row, name in enumerate(names)}
