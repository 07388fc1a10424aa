"""The characters that tables are drawn with: as a terminal has them, or in ASCII."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD, Box
from rich.table import Table
from rich.text import Text

from init_monitor.display.log_bar import ASCII_MARKS, UNICODE_MARKS

if TYPE_CHECKING:
    from init_monitor.display.log_bar import Marks

TABLE_WIDTH = 100
"""Columns that a table fits into unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """Marks of a bar, lines of a table, what stands for left-out names, and what stands between two ends."""

    marks: Marks
    box: Box
    dots: str
    dash: str


UNICODE = Drawing(UNICODE_MARKS, SIMPLE_HEAD, "…", "–")
PLAIN = Drawing(ASCII_MARKS, Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True), "...", "..")


def words(text: str, style: str = "") -> Text:
    """Return the text of a cell, which is never wrapped."""
    return Text(text, style=style, no_wrap=True, overflow="crop")


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
