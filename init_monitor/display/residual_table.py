"""The residual table: what each block adds to its skip, and how fast the stream grows with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

from init_monitor.display.cells import giving_way, headings
from init_monitor.display.finding_panel import SEVERITY_STYLES
from init_monitor.display.formatting import common_start, compact, shortened, shown_name
from init_monitor.display.log_bar import LogScale
from init_monitor.display.residual_rows import is_aside, residual_cells, stream_growth
from init_monitor.display.row_folding import folded
from init_monitor.display.table_style import PLAIN, TABLE_WIDTH, UNICODE, blank_table, captions, ordinal_note, words
from init_monitor.records import Of
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

    from init_monitor.display.table_style import Drawing
    from init_monitor.records import Finding, StepRecord, Structure

_BAR = "bar"

_LEAST_NAME = 16
"""The least room for long names before a column is left out."""
_WIDE_GAP = 2


@dataclass(frozen=True, slots=True)
class _Row:
    """One line: an addition, or several that are folded."""

    name: str
    cells: dict[str, str]
    style: str = ""
    bar_style: str = ""
    is_fold: bool = False


def residual_table(
    record: StepRecord,
    structure: Structure,
    findings: Iterable[Finding] = (),
    *,
    width: int = TABLE_WIDTH,
    plain: bool = False,
) -> Table:
    """Return a table with a row per residual addition in execution order.

    The bar shows the variance of the sum on a logarithmic scale from the mark at 1; its ends are in the header. Additions
    outside the main stream (nested, long) are dim and say so. Rows of a network of more than 40 are folded: its ends and
    those that a finding names stay. The line below says how the variance grows per block of the stream.

    Args:
        record: the step to show.
        structure: gives each addition its kind.
        findings: those known so far; they colour the bars of the additions they name.
        width: columns to fit into; if they are few, less important columns are left out.
        plain: draw in ASCII.
    """
    drawing = PLAIN if plain else UNICODE
    known = {residual.name: residual for residual in structure.residuals}
    sums = record.column(Quantity.RESIDUAL_SUM_VAR).tolist()
    scale = LogScale.over(sums)
    worst_first = sorted(findings, key=lambda one: -one.severity.rank)
    cells = residual_cells(record, structure)
    blamed = [
        frozenset(i for i, name in enumerate(record.residual_names) if name in finding.layers)
        for finding in worst_first
    ]
    rows = []
    for run in folded(len(cells), blamed):
        if len(run) > 1:
            rows.append(_fold_row([sums[i] for i in run], drawing))
            continue
        i = run[0]
        style = "dim" if is_aside(known.get(record.residual_names[i])) else ""
        named = (SEVERITY_STYLES[one.severity] for one, group in zip(worst_first, blamed, strict=True) if i in group)
        bar = {_BAR: scale.bar(sums[i], drawing.marks)}
        rows.append(_Row(shown_name(record.residual_names[i]), cells[i] | bar, style, next(named, style)))
    growth = stream_growth(record, structure)
    title = f"Residual additions at step {record.step:,}: {len(cells):,}"
    table = _assembled(title, rows, scale, drawing, width)
    table.caption = captions([*([] if growth is None else [f"{growth}."]), *ordinal_note(record.residual_names)])
    return table


def _assembled(title: str, rows: Sequence[_Row], scale: LogScale, drawing: Drawing, width: int) -> Table:
    names = [row.name for row in rows if not row.is_fold]
    headers = _headers(f"Var(sum), log\n{scale.header()}")
    start = common_start(names)
    columns, room, gap = _layout(rows, headers, width, max(map(cell_len, names), default=0) - cell_len(start))
    if all(cell_len(name) <= room for name in names):
        start = ""
    title += f" of {start[:-1]}" if start else ""
    table = blank_table(title, drawing, gap)
    table.add_column(words("residual"), no_wrap=True, vertical="bottom")
    for column in columns:
        is_left = column in {_BAR, "kind"}
        header = words(headers[column])
        table.add_column(header, justify="left" if is_left else "right", no_wrap=True, vertical="bottom")
    for row in rows:
        name = row.name if row.is_fold else row.name[len(start) :]
        cells = (words(row.cells.get(column, ""), row.bar_style if column == _BAR else row.style) for column in columns)
        table.add_row(words(shortened(name, room, drawing.dots), row.style), *cells)
    return table


def _headers(bar: str) -> dict[str, str]:
    """Return every column with its header, on two lines where a number takes less room than its name."""
    headers = {"kind": "kind"}
    for quantity, heading in headings(Of.RESIDUAL).items():
        headers[heading.words] = heading.text
        if quantity is Quantity.RESIDUAL_SUM_VAR:
            headers[_BAR] = bar
    return headers


def _layout(rows: Sequence[_Row], headers: dict[str, str], width: int, longest: int) -> tuple[list[str], int, int]:
    """Return the columns that fit next to names of this length, the room for names, and the spaces between columns."""
    widths = {
        column: max(map(cell_len, (*header.split("\n"), *(row.cells.get(column, "") for row in rows))))
        for column, header in headers.items()
    }
    columns = list(headers)
    longest = max([longest, len("residual"), *(cell_len(row.name) for row in rows if row.is_fold)])

    def room(gap: int) -> int:
        return width - sum(widths[column] + gap for column in columns)

    # The bar still shows what Var(sum) is.
    for column in (*giving_way(Of.RESIDUAL), "kind"):
        if room(1) < min(longest, _LEAST_NAME):
            columns.remove(column)
    gap = _WIDE_GAP if room(_WIDE_GAP) >= longest else 1
    return columns, max(min(longest, _LEAST_NAME), room(gap)), gap


def _fold_row(sums: Sequence[float], drawing: Drawing) -> _Row:
    """One line for many additions: how many, and the range of their sums' variances."""
    spread = [value for value in sums if not math.isnan(value)]
    low, high = (compact(end(spread)) if spread else "n/a" for end in (min, max))
    cells = {_BAR: low if low == high else f"{low}{drawing.dash}{high}"}
    return _Row(f"{drawing.dots} {len(sums)} more", cells, is_fold=True)
