"""The rows of attentions: one each, over all of its heads. Where heads differ, from the lowest to the highest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from init_monitor.display.cells import column_cells, headings
from init_monitor.records import Of

if TYPE_CHECKING:
    from init_monitor.records import StepRecord, Structure

ATTENTION_WORDS = ("attention", "heads")
"""Columns before those of the quantities."""


def attention_columns() -> tuple[str, ...]:
    """Return the headers of all columns."""
    return (*ATTENTION_WORDS, *(heading.words for heading in headings(Of.HEAD).values()))


def attention_cells(record: StepRecord, structure: Structure, dash: str = "–") -> list[dict[str, str]]:
    """Return one dict per attention, in execution order, keyed by header.

    Args:
        record: the step.
        structure: says which heads belong together.
        dash: between the lowest and the highest of its heads.
    """
    table = record.head_table
    columns = [
        (heading.words, column_cells(table, quantity), table.column(quantity).tolist())
        for quantity, heading in headings(Of.HEAD).items()
    ]
    found = []
    for attention in structure.attentions:
        rows = [table.index[name] for name in attention.head_names if name in table.index]
        cells = {"attention": attention.name, "heads": str(len(rows))}
        for header, written, numbers in columns:
            known = sorted((row for row in rows if not math.isnan(numbers[row])), key=lambda row: numbers[row])
            ends = list(dict.fromkeys(written[row] for row in (known[0], known[-1]))) if known else ["n/a"]
            cells[header] = dash.join(ends)
        found.append(cells)
    return found
