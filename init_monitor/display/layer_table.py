"""The signal-propagation table: every layer of one step, with a verdict in colour and in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from init_monitor.display.cells import giving_way, headings, number_cells
from init_monitor.display.finding_panel import findings_panel
from init_monitor.display.formatting import common_start, compact, shortened, shown_name
from init_monitor.display.layer_status import LEGEND, Status, names_layer, statuses
from init_monitor.display.log_bar import BAR_WIDTH, LogScale
from init_monitor.display.row_folding import folded
from init_monitor.display.table_style import PLAIN, TABLE_WIDTH, UNICODE, blank_table, captions, ordinal_note, words
from init_monitor.records import Of
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

    from init_monitor.display.table_style import Drawing
    from init_monitor.records import Finding, LayerRecord, StepRecord, Structure

__all__ = ["TABLE_WIDTH", "findings_panel", "propagation_table"]

_BAR = "bar"

_LEAST_NAME = 16
"""The least room for names before a column is left out."""
_ROOMY_NAME = 24
"""With less room for names than this, columns stand one space apart instead of two."""
_LEAST_KIND = 4
"""Characters of a layer's kind that are worth showing."""
_WIDE_GAP = 2


@dataclass(frozen=True, slots=True)
class _Row:
    """One line: a layer, or several that are folded (without a kind)."""

    name: str
    kind: str
    cells: dict[str, str]
    status: Status

    @property
    def length(self) -> int:
        return cell_len(self.name) + (cell_len(self.kind) + 1 if self.kind else 0)


def propagation_table(
    record: StepRecord,
    structure: Structure,
    findings: Iterable[Finding] = (),
    *,
    width: int = TABLE_WIDTH,
    plain: bool = False,
) -> Table:
    """Return a table with a row per layer in execution order.

    The bar shows the standard deviation on a logarithmic scale from the mark at 1; its ends are in the header. Rows
    of a network of more than 40 layers are folded: its ends and the layers at fault stay.

    Args:
        record: the step to show.
        structure: gives each layer its kind.
        findings: those known so far; a layer that none of them names, and that was measured, is healthy.
        width: columns to fit into; if they are few, less important columns are left out.
        plain: draw in ASCII.
    """
    drawing = PLAIN if plain else UNICODE
    layers, known, found = list(record), structure.by_name(), tuple(findings)
    verdicts = statuses(record, structure, found)
    scale = LogScale.over(layer.forward.std for layer in layers)
    blamed = [
        frozenset(i for i, layer in enumerate(layers) if names_layer(finding, layer, known.get(layer.name)))
        for finding in sorted(found, key=lambda one: -one.severity.rank)
    ]
    rows, numbers = [], number_cells(record, Of.LAYER)
    for run in folded(len(layers), blamed):
        if len(run) > 1:
            rows.append(_fold_row([layers[i] for i in run], [verdicts[i] for i in run], drawing))
        else:
            layer = layers[run[0]]
            kind = known[layer.name].kind if layer.name in known else ""
            cells = numbers[run[0]] | {_BAR: scale.bar(layer.forward.std, drawing.marks)}
            rows.append(_Row(shown_name(layer.name), shown_name(kind), cells, verdicts[run[0]]))
    title = f"Signal propagation at step {record.step:,}: {len(layers):,} layers"
    table = _assembled(title, rows, scale, drawing, width)
    notes = [LEGEND] if any(status.blamed for status in verdicts) else []
    table.caption = captions([*notes, *ordinal_note(record.names)])
    return table


def _assembled(title: str, rows: Sequence[_Row], scale: LogScale, drawing: Drawing, width: int) -> Table:
    columns, room, gap = _layout(rows, width)
    layer_names = [row.name for row in rows if row.kind]
    start = ""
    if any(cell_len(name) > room for name in layer_names):
        start = common_start(layer_names)
        title += f" of {start[:-1]}" if start else ""
    table = blank_table(title, drawing, gap)
    table.add_column(words("layer"), no_wrap=True, vertical="bottom")
    for column in columns:
        is_bar = column == _BAR
        header = _bar_header(scale) if is_bar else column
        table.add_column(words(header), justify="left" if is_bar else "right", no_wrap=True, vertical="bottom")
    table.add_column(words("status"), no_wrap=True, vertical="bottom")
    for row in rows:
        style = row.status.style
        cells = (words(row.cells[column], style if column == _BAR else "") for column in columns)
        table.add_row(_label(row, start, room, drawing), *cells, words(row.status.marked, style))
    return table


def _layout(rows: Sequence[_Row], width: int) -> tuple[list[str], int, int]:
    """Return the columns that fit, the room for names, and the spaces between columns."""
    longest = max((row.length for row in rows), default=0)
    status = max([len("status"), *(len(row.status.marked) for row in rows)])
    widths = {
        column: max([BAR_WIDTH if column == _BAR else len(column), *(cell_len(row.cells[column]) for row in rows)])
        for column in _columns()
    }
    columns = _columns()

    def room(gap: int) -> int:
        return width - status - sum(widths[column] for column in columns) - gap * (len(columns) + 1)

    for column in giving_way(Of.LAYER):
        if room(1) < _LEAST_NAME:
            columns.remove(column)
    gap = _WIDE_GAP if room(_WIDE_GAP) >= min(longest, _ROOMY_NAME) else 1
    return columns, max(_LEAST_NAME, room(gap)), gap


def _bar_header(scale: LogScale) -> str:
    """Say what the bars show, and between which ends."""
    return f"std, log\n{scale.header()}"


def _label(row: _Row, start: str, room: int, drawing: Drawing) -> Text:
    """Name and, where there is room, kind."""
    name = shortened(row.name[len(start) :] if row.kind else row.name, room, drawing.dots)
    label = Text(name, no_wrap=True)
    kind_room = room - cell_len(name) - 1
    return label.append(f" {row.kind[:kind_room]}", style="dim") if row.kind and kind_room >= _LEAST_KIND else label


def _columns() -> list[str]:
    """Return the headers in order; the bar comes after the number that it shows."""
    columns = []
    for quantity, heading in headings(Of.LAYER).items():
        columns += [heading.words, _BAR] if quantity is Quantity.VARIANCE else [heading.words]
    return columns


def _fold_row(layers: Sequence[LayerRecord], verdicts: Sequence[Status], drawing: Drawing) -> _Row:
    """One line for many layers: how many, the range of their standard deviations, the worst status among them."""
    spread = [layer.forward.std for layer in layers if not math.isnan(layer.forward.std)]
    low, high = (compact(end(spread)) if spread else "n/a" for end in (min, max))
    worst = max(verdicts, key=lambda status: (status.rank, status.blamed))
    alike = sum(status.word == worst.word for status in verdicts)
    word = worst.word if alike == len(verdicts) else f"{alike} {worst.word}"
    cells = dict.fromkeys(_columns(), "") | {_BAR: low if low == high else f"{low}{drawing.dash}{high}"}
    return _Row(f"{drawing.dots} {len(layers)} more layers", "", cells, replace(worst, word=word))
