"""The attention table: how large the logits of each attention are, and where its heads look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len

from init_monitor.display.attention_rows import attention_cells
from init_monitor.display.cells import giving_way, headings
from init_monitor.display.finding_panel import SEVERITY_STYLES
from init_monitor.display.formatting import shortened, shown_name
from init_monitor.display.row_folding import folded
from init_monitor.display.table_style import PLAIN, TABLE_WIDTH, UNICODE, blank_table, captions, words
from init_monitor.records import Of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from init_monitor.records import Finding, StepRecord, Structure

_LEAST_NAME = 16
"""The least room for names before a column is left out."""

_NOTE = (
    "Entropy, one place, first key: % of ln T, and % of the rows. Two numbers: the lowest and the highest of its heads."
)


def attention_table(
    record: StepRecord,
    structure: Structure,
    findings: Iterable[Finding] = (),
    *,
    width: int = TABLE_WIDTH,
    plain: bool = False,
) -> Table:
    """Return a table with a row per attention in execution order; of more than 40 those between the ends are folded.

    Args:
        record: the step to show.
        structure: which heads belong to which attention.
        findings: those known so far; an attention whose queries and keys one of them names has its colour.
        width: columns to fit into; if they are few, less important ones are left out.
        plain: draw in ASCII.
    """
    drawing = PLAIN if plain else UNICODE
    cells = attention_cells(record, structure, drawing.dash)
    worst_first = sorted((one for one in findings if one.layers), key=lambda one: -one.severity.rank)
    blamed = [
        frozenset(i for i, one in enumerate(structure.attentions) if set(one.inputs).intersection(finding.layers))
        for finding in worst_first
        if finding.code == "IM304"
    ]
    headers = {"heads": "heads", **{heading.words: heading.text for heading in headings(Of.HEAD).values()}}
    widths = {
        column: max(map(cell_len, (*header.split("\n"), *(row[column] for row in cells))))
        for column, header in headers.items()
    }
    columns = list(headers)
    longest = max((cell_len(shown_name(row["attention"])) for row in cells), default=0)
    for column in (*giving_way(Of.HEAD), "heads"):
        if width - sum(widths[one] + 1 for one in columns) < min(longest, _LEAST_NAME):
            columns.remove(column)
    room = max(_LEAST_NAME, width - sum(widths[one] + 1 for one in columns))
    table = blank_table(f"Attention at step {record.step:,}: {len(cells):,}", drawing, 1)
    table.add_column(words("attention"), no_wrap=True, vertical="bottom")
    for column in columns:
        table.add_column(words(headers[column]), justify="right", no_wrap=True, vertical="bottom")
    styles = [SEVERITY_STYLES[one.severity] for one in worst_first if one.code == "IM304"]
    for run in folded(len(cells), blamed):
        if len(run) > 1:
            table.add_row(words(f"{drawing.dots} {len(run)} more"))
            continue
        style = next((one for one, group in zip(styles, blamed, strict=True) if run[0] in group), "")
        row = cells[run[0]]
        name = shortened(shown_name(row["attention"]), room, drawing.dots)
        table.add_row(words(name, style), *(words(row[column], style) for column in columns))
    table.caption = captions([_NOTE])
    return table
