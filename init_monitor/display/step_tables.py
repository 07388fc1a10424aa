"""The tables of a step as text, for Markdown and for HTML: the same columns as on the console."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from init_monitor.display.attention_rows import attention_cells, attention_columns
from init_monitor.display.cells import headings, number_cells
from init_monitor.display.layer_status import statuses
from init_monitor.display.residual_rows import RESIDUAL_WORDS, residual_cells, stream_growth
from init_monitor.records import Of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Finding, StepRecord, Structure


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of which every cell is text.

    Attributes:
        kind: ``"layers"``, ``"residuals"`` or ``"attentions"``.
        title: above it.
        columns: headers.
        rows: one tuple per row, aligned with ``columns``.
        left: headers of the columns that are words, not numbers.
        caption: a sentence below it, or empty.
    """

    kind: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: frozenset[str]
    caption: str = ""


def step_tables(record: StepRecord, structure: Structure, findings: Sequence[Finding]) -> list[TextTable]:
    """Return the layers of a step and, if there are any, its residual additions and its attentions."""
    tables = [_layers(record, structure, findings)]
    tables += [_residuals(record, structure)] if record.residual_names else []
    return [*tables, _attentions(record, structure)] if record.head_names else tables


def _layers(record: StepRecord, structure: Structure, findings: Sequence[Finding]) -> TextTable:
    headers = [heading.words for heading in headings(Of.LAYER).values()]
    known = structure.by_name()
    rows = (
        (name, known[name].kind if name in known else "", *(cells[header] for header in headers), status.spelled)
        for name, cells, status in zip(
            record.names, number_cells(record, Of.LAYER), statuses(record, structure, findings), strict=True
        )
    )
    return TextTable(
        "layers",
        f"Layers at step {record.step}",
        ("layer", "kind", *headers, "status"),
        tuple(rows),
        frozenset({"layer", "kind", "status"}),
    )


def _residuals(record: StepRecord, structure: Structure) -> TextTable:
    cells = residual_cells(record, structure)
    columns = (*RESIDUAL_WORDS, *(heading.words for heading in headings(Of.RESIDUAL).values()))
    growth = stream_growth(record, structure)
    return TextTable(
        "residuals",
        f"Residual additions at step {record.step}",
        columns,
        tuple(tuple(row[column] for column in columns) for row in cells),
        frozenset(RESIDUAL_WORDS),
        "" if growth is None else f"{growth}.",
    )


def _attentions(record: StepRecord, structure: Structure) -> TextTable:
    columns = attention_columns()
    return TextTable(
        "attentions",
        f"Attention at step {record.step}",
        columns,
        tuple(tuple(row[column] for column in columns) for row in attention_cells(record, structure)),
        frozenset({"attention"}),
        "Entropy in % of ln T, places in % of the rows; two numbers are the lowest and the highest of its heads.",
    )
