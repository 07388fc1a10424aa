"""A finding as a panel: what is wrong, what was expected, what to change, and code that can be copied."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.box import HORIZONTALS, Box
from rich.console import Group
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from init_monitor.display.formatting import layer_range, shown, shown_name
from init_monitor.records import Severity
from init_monitor.records.evidence import figure_rows, measured_at
from init_monitor.records.quoting import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from init_monitor.records import Finding

SEVERITY_STYLES = {Severity.INFO: "cyan", Severity.WARNING: "yellow", Severity.CRITICAL: "bold red"}

_PLAIN_RULES = Box(" -- \n    \n -- \n    \n -- \n -- \n    \n -- \n", ascii=True)


def findings_panel(finding: Finding, *, plain: bool = False) -> Panel:
    """Return a panel without side edges, so that the code in it can be copied.

    Args:
        finding: what was found.
        plain: draw in ASCII.
    """

    def text(words: str, style: str = "") -> Text:
        return Text(shown(words, lines=True), style=style)

    style = SEVERITY_STYLES[finding.severity]
    parts: list[RenderableType] = []
    if finding.layers:
        parts.append(text(layer_range([shown_name(name) for name in finding.shown_layers]), "bold"))
    parts.append(text(finding.message))
    if finding.evidence or finding.expected:
        parts += [Text(""), _figures(finding)]
    if finding.remedy_sentence:
        parts += [Text(""), Text("What to do: ", style="bold").append_text(text(finding.remedy_sentence))]
    if finding.remedy_code:
        parts += [Text(""), _Code(printable(finding.remedy_code.rstrip(), lines=True))]
    if finding.source:
        parts += [Text(""), text(f"Source: {finding.source}", "dim")]
    title = text(f"{finding.severity}: {finding.code} {finding.rule}, step {finding.step:,}", style)
    return Panel(
        Group(*parts),
        title=title,
        title_align="left",
        border_style=style,
        box=_PLAIN_RULES if plain else HORIZONTALS,
        padding=(0, 1),
    )


class _Code:
    """Code that can be copied at any width: a comment that is too long for a line continues in another comment."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [part for line in self._code.splitlines() for part in _commented(line, options.max_width)]
        # The colours of the terminal itself: readable on a dark and on a light background.
        yield Syntax("\n".join(lines), "python", theme="ansi_dark", background_color="default", word_wrap=True)


def _commented(line: str, width: int) -> list[str]:
    begin = line[: len(line) - len(line.lstrip())] + "# "
    if len(line) <= width or not line.startswith(begin):
        return [line]
    return textwrap.wrap(line, width, subsequent_indent=begin, break_long_words=False, break_on_hyphens=False)


def _figures(finding: Finding) -> Table:
    grid = Table.grid(padding=(0, 3, 0, 0))
    head = ("", measured_at(finding), "expected")
    for column in head:
        grid.add_column(column)
    grid.add_row(*(Text(word, style="dim") for word in head))
    for cells in figure_rows(finding):
        grid.add_row(*(Text(shown(cell)) for cell in cells))
    return grid
