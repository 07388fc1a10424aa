"""The columns of the tables that quantities define, and their cells as text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from init_monitor.analysis.rectifiers import LEAST_SAMPLES
from init_monitor.display.formatting import compact
from init_monitor.records.facts import Cell, Group, Stream
from init_monitor.records.quantities import Quantity
from init_monitor.records.registry import quantities

if TYPE_CHECKING:
    from init_monitor.records import Heading, Of, StepRecord, Table


def headings(of: Of) -> dict[Quantity, Heading]:
    """Return the quantities that have a column in the tables of layers, parameters or residual additions, in order."""
    return {one: one.facts.heading for one in quantities(of) if one.facts.heading is not None}


def giving_way(of: Of) -> list[str]:
    """Return the headers that a narrow terminal leaves out, the first to be left out first.

    A number that is cut is a wrong number, so a column is left out as a whole.
    """
    dispensable = [(one.gives_way, one.words) for one in headings(of).values() if one.gives_way]
    return [words for _, words in sorted(dispensable, key=lambda one: one[0])]


def number_cells(record: StepRecord, of: Of) -> list[dict[str, str]]:
    """Return one dict per row of the table, in execution order: the cell of each column, by its header."""
    table = record.table(of)
    columns = {heading.words: column_cells(table, quantity) for quantity, heading in headings(of).items()}
    return [{header: cells[i] for header, cells in columns.items()} for i in range(len(table.names))]


def column_cells(table: Table, quantity: Quantity) -> list[str]:
    """Return the cells of one column; ``"n/a"`` where nothing was measured, or a word for why there is no number."""
    facts = quantity.facts
    cell = Cell.NUMBER if facts.heading is None else facts.heading.cell
    written = [_written(number, cell) for number in table.column(quantity).tolist()]
    if facts.stream is Stream.GRADIENT:
        arrived = table.column(Quantity.GRADIENT_COUNT).tolist()
        return ["none" if math.isnan(count) else text for text, count in zip(written, arrived, strict=True)]
    if facts.group is Group.UNITS:
        seen = table.column(Quantity.UNIT_SAMPLES).tolist()
        certain = table.column(Quantity.DEAD_AT_LEAST).tolist()
        if quantity is not Quantity.DEAD_FRACTION:
            certain = [0.0] * len(certain)
        shares = table.column(quantity).tolist()
        return [
            _bounded(text, low) if share > 0 and positions < LEAST_SAMPLES else text
            for text, share, positions, low in zip(written, shares, seen, certain, strict=True)
        ]
    return written


def _bounded(text: str, low: float) -> str:
    """Return a share of units that was seen on few positions: the observed share, and its lower bound."""
    return f"{100 * low:.1f}–{text}" if low > 0 else f"≤{text}"


def _written(number: float, cell: Cell) -> str:
    if cell is Cell.ROOT:
        return compact(math.sqrt(number) if number >= 0 else math.nan)
    if cell is Cell.PERCENT:
        return "n/a" if math.isnan(number) else f"{100 * number:.1f}"
    return compact(number)
