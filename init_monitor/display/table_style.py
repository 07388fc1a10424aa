"""The characters that tables are drawn with: as a terminal has them, or in ASCII."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD, Box
from rich.table import Table
from rich.text import Text

from init_monitor.display.formatting import shown
from init_monitor.display.log_bar import ASCII_MARKS, UNICODE_MARKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from init_monitor.display.log_bar import Marks

TABLE_WIDTH = 100
"""Columns that a table fits into unless told otherwise."""

_ORDINAL = re.compile(r"#\d")


@dataclass(frozen=True, slots=True)
class Drawing:
    """Marks of a bar, lines of a table, what stands for left-out names, between two ends, and before a count."""

    marks: Marks
    box: Box
    dots: str
    dash: str
    times: str


UNICODE = Drawing(UNICODE_MARKS, SIMPLE_HEAD, "…", "–", "×")
PLAIN = Drawing(ASCII_MARKS, Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True), "...", "..", "x")


def words(text: str, style: str = "") -> Text:
    """Return the text of a cell, which is never wrapped."""
    return Text(text, style=style, no_wrap=True, overflow="crop")


def captions(notes: Sequence[str]) -> Text | None:
    """Return what stands below a table, a line each, or ``None`` if there is nothing to say."""
    return Text(shown("\n".join(notes), lines=True)) if notes else None


def ordinal_note(names: Iterable[str]) -> list[str]:
    """Return what ``#1`` in a name means, if one of the names has it.

    >>> ordinal_note(["net.0", "net.1"]), ordinal_note(["blocks.0#1"])
    ([], ['#1: the first call, or the first addition, inside that module.'])
    """
    found = next(filter(None, map(_ORDINAL.search, names)), None)
    return [] if found is None else ["#1: the first call, or the first addition, inside that module."]


def blank_table(title: str, drawing: Drawing, gap: int) -> Table:
    """Return a table without columns.

    Args:
        title: above it.
        drawing: characters to draw with.
        gap: spaces between two columns, at least 1.
    """
    return Table(
        title=Text(title, style="bold"),
        title_justify="left",
        caption_justify="left",
        box=drawing.box,
        # The box itself puts one space between columns.
        padding=(0, gap - 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
