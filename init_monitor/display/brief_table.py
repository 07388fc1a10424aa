"""The short table: one row per kind of layer, with its range and a small plot of its course over depth."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.cells import cell_len

from init_monitor.display.finding_panel import SEVERITY_STYLES
from init_monitor.display.formatting import common_start, compact, shortened, shown_name
from init_monitor.display.kinds import folds, without_first
from init_monitor.display.layer_status import HEALTHY, MARK, Status, status_word, statuses
from init_monitor.display.log_bar import LogScale, course
from init_monitor.display.residual_rows import is_aside, stream_growth
from init_monitor.display.table_style import PLAIN, TABLE_WIDTH, UNICODE, blank_table, captions, ordinal_note, words
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from rich.table import Table

    from init_monitor.display.table_style import Drawing
    from init_monitor.records import Finding, StepRecord, Structure

MOST_KINDS = 9
"""Rows of layers, where there is room."""
FEWER_KINDS = (5, 3)
"""Rows of layers when much else is printed."""
MOST_ADDITIONS = 2
"""Rows of residual additions."""

_LEAST_NAME = 28
"""Room for names before a column is left out."""
_COUNT, _COURSE, _DEAD = "count", "course", "dead %"
_LEAST_KIND = 5
"""Columns that a kind takes at least, the space before it included."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One line: a layer, or several of a kind."""

    name: str
    kind: str
    cells: dict[str, str]
    status: Status


def brief_table(  # noqa: PLR0913 - two things to draw, and how
    record: StepRecord,
    structure: Structure,
    findings: Iterable[Finding] = (),
    *,
    width: int = TABLE_WIDTH,
    plain: bool = False,
    kinds: int = MOST_KINDS,
) -> Table:
    """Return a table of few rows: each layer of a small network, else each kind of layer with its range.

    Args:
        record: the step to show.
        structure: gives each layer its kind.
        findings: those known so far.
        width: columns to fit into; if they are few, less important columns are left out.
        plain: draw in ASCII.
        kinds: rows of layers at most.
    """
    drawing, found = PLAIN if plain else UNICODE, tuple(findings)
    deviations = np.sqrt(record.column(Quantity.VARIANCE))
    scale = LogScale.over([*deviations.tolist(), *np.sqrt(record.column(Quantity.RESIDUAL_SUM_VAR)).tolist()])
    rows = [
        *_layer_rows(record, structure, found, scale, drawing, kinds),
        *_addition_rows(record, structure, found, scale, drawing),
    ]
    additions = len(record.residual_names)
    title = f"Signal propagation at step {record.step:,}: {len(record.names):,} layers"
    title += f", {additions:,} residual addition{'s' * (additions != 1)}" if additions else ""
    table = _assembled(title, rows, scale, drawing, width)
    # A finding that names the additions says so itself.
    named = {name for finding in found for name in finding.layers}
    growth = None if named.intersection(record.residual_names) else stream_growth(record, structure)
    table.caption = captions(
        [
            *([f"{growth}."] if growth is not None else []),
            *ordinal_note(row.name for row in rows),
        ]
    )
    return table


def _layer_rows(  # noqa: PLR0913, PLR0917 - what a row is made of
    record: StepRecord,
    structure: Structure,
    findings: Sequence[Finding],
    scale: LogScale,
    drawing: Drawing,
    most: int,
) -> Iterator[_Row]:
    known = structure.by_name()
    kinds = [known[name].kind if name in known else "" for name in record.names]
    verdicts = statuses(record, structure, findings)
    columns = _Columns(
        np.sqrt(record.column(Quantity.VARIANCE)),
        np.sqrt(record.column(Quantity.GRADIENT_VARIANCE)),
        100 * record.column(Quantity.DEAD_FRACTION),
    )
    for fold in map(without_first, folds(record.names, kinds, most, drawing.dash)):
        status = _together([verdicts[i] for i in fold.rows])
        yield _Row(fold.label, fold.kind, columns.cells(fold.rows, scale, drawing), status)


def _addition_rows(
    record: StepRecord, structure: Structure, findings: Sequence[Finding], scale: LogScale, drawing: Drawing
) -> Iterator[_Row]:
    known = {residual.name: residual for residual in structure.residuals}
    stream = [i for i, name in enumerate(record.residual_names) if not is_aside(known.get(name))]
    names = [record.residual_names[i] for i in stream]
    columns = _Columns(
        np.sqrt(record.column(Quantity.RESIDUAL_SUM_VAR))[stream],
        np.sqrt(record.column(Quantity.RESIDUAL_SUM_GRADIENT_VAR))[stream],
        np.full(len(stream), np.nan),
    )
    for fold in map(without_first, folds(names, ["x + F(x)"] * len(names), MOST_ADDITIONS, drawing.dash)):
        own = [_of_addition(names[i], findings) for i in fold.rows]
        yield _Row(fold.label, fold.kind, columns.cells(fold.rows, scale, drawing), _together(own))


def _of_addition(name: str, findings: Sequence[Finding]) -> Status:
    naming = [finding for finding in findings if name in finding.layers]
    if not naming:
        return HEALTHY
    worst = max(naming, key=lambda one: one.severity.rank)
    return Status(status_word(worst), SEVERITY_STYLES[worst.severity], worst.severity.rank, blamed=True)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Numbers of a row, one per layer."""

    deviation: NDArray[np.float64]
    gradient: NDArray[np.float64]
    dead: NDArray[np.float64]

    def cells(self, rows: Sequence[int], scale: LogScale, drawing: Drawing) -> dict[str, str]:
        """Return the cells of some of the layers together."""
        own = list(rows)
        values = self.deviation[own].tolist()
        picture = scale.bar(values[0], drawing.marks) if len(own) == 1 else course(values, scale, drawing.marks)
        dead = self.dead[own]
        known = dead[~np.isnan(dead)]
        return {
            _COUNT: f"{drawing.times}{len(own)}" if len(own) > 1 else "",
            "std": _range(values, drawing),
            _COURSE: picture,
            "grad std": _range(self.gradient[own].tolist(), drawing),
            _DEAD: f"{known.max():.1f}" if known.size else "",
        }


def _range(values: Sequence[float], drawing: Drawing) -> str:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "n/a"
    low, high = compact(min(known), 2 if len(values) > 1 else 3), compact(max(known), 2 if len(values) > 1 else 3)
    return low if low == high else f"{low}{drawing.dash}{high}"


def _together(verdicts: Sequence[Status]) -> Status:
    """Return the worst status, with how many have it if not all do."""
    count = Counter(status.word for status in verdicts)
    worst = max(verdicts, key=lambda status: (status.rank, count[status.word], status.blamed))
    alike = count[worst.word]
    if alike == len(verdicts):
        return worst
    return Status(f"{worst.word} {alike}/{len(verdicts)}", worst.style, worst.rank, blamed=worst.blamed)


def _assembled(title: str, rows: Sequence[_Row], scale: LogScale, drawing: Drawing, width: int) -> Table:
    columns = [_COUNT, "std", _COURSE, "grad std", _DEAD]
    if not any(row.cells[_DEAD] for row in rows):
        columns.remove(_DEAD)
    folded = any(row.cells[_COUNT] for row in rows)
    if not folded:
        columns.remove(_COUNT)
    # A course over depth and a bar have one scale: both are read from the same two ends.
    headers = {
        _COUNT: "",
        "std": "std",
        _COURSE: f"{'std by depth' if folded else 'std, log'}\n{scale.header()}",
        "grad std": "grad std",
        _DEAD: "most\ndead %",
        "status": f"status\n{MARK} at fault" if any(row.status.blamed for row in rows) else "status",
    }
    widths = {
        column: _widest([*headers[column].split("\n"), *(row.cells[column] for row in rows)]) for column in columns
    }
    status = _widest([*headers["status"].split("\n"), *(row.status.marked for row in rows)])
    names = [shown_name(row.name) for row in rows]
    start = common_start(names)
    longest = _widest(["layer", *names])

    def room() -> int:
        return width - status - 2 - sum(widths[column] + 2 for column in columns)

    for column in (_DEAD, "grad std", _COURSE):
        if column in columns and room() < min(longest - len(start) + _LEAST_KIND, _LEAST_NAME):
            columns.remove(column)
    if longest + _LEAST_KIND > room() and start:
        names = [name[len(start) :] for name in names]
        title += f" of {start[:-1]}"
    table = blank_table(title, drawing, 2)
    table.add_column(words("layer"), no_wrap=True, vertical="bottom")
    for column in columns:
        is_left = column == _COURSE
        header = words(headers[column])
        table.add_column(header, justify="left" if is_left else "right", no_wrap=True, vertical="bottom")
    table.add_column(words(headers["status"]), no_wrap=True, vertical="bottom")
    for name, row in zip(names, rows, strict=True):
        style = row.status.style
        label = words(shortened(name, room(), drawing.dots))
        kind_room = room() - cell_len(label.plain) - 1
        if kind_room >= _LEAST_KIND:
            label.append(f" {shown_name(row.kind)[:kind_room]}", style="dim")
        table.add_row(
            label,
            *(words(row.cells[column], style if column == _COURSE else "") for column in columns),
            words(row.status.marked, style),
        )
    return table


def _widest(texts: Sequence[str]) -> int:
    return max(map(cell_len, texts))
