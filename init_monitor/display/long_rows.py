"""Every number of a run, a row per sampled step and name: what the JSON report and the DataFrames hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from init_monitor.records.registry import quantities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Of, StepRecord


def long_columns(of: Of) -> list[str]:
    """Return the headers: ``step``, what the row is of, and every quantity."""
    return ["step", of.value, *(quantity.value for quantity in quantities(of))]


def long_rows(records: Sequence[StepRecord], of: Of) -> list[tuple[Any, ...]]:
    """Return the rows, by step, then in execution order; NaN where not measured."""
    rows: list[tuple[Any, ...]] = []
    for record in records:
        table = record.table(of)
        columns = [table.column(quantity).tolist() for quantity in quantities(of)]
        rows += zip([record.step] * len(table.names), table.names, *columns, strict=True)
    return rows
