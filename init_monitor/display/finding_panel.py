"""A finding as a panel: what is wrong, what was expected, what to change, and code that can be copied."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.rule import Rule
from rich.segment import Segment
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


def findings_panel(finding: Finding, *, plain: bool = False, whole: bool = False) -> Group:
    """Return everything that a finding knows, between two rules; its code stands at the left edge, so that it can be copied.

    Args:
        finding: what was found.
        plain: draw in ASCII.
        whole: do not break the lines of the code: where they are printed as they are.
    """

    def text(words: str, style: str = "") -> Text:
        return Text(shown(words, lines=True), style=style)

    style = SEVERITY_STYLES[finding.severity]
    above: list[RenderableType] = []
    if finding.layers:
        above.append(text(layer_range([shown_name(name) for name in finding.shown_layers]), "bold"))
    above.append(text(finding.message))
    if finding.evidence or finding.expected:
        above += [Text(""), _figures(finding)]
    if finding.remedy_sentence:
        above += [Text(""), Text("What to do: ", style="bold").append_text(text(finding.remedy_sentence))]
    code: list[RenderableType] = []
    if finding.remedy_code:
        lines = printable(finding.remedy_code.rstrip(), lines=True)
        code = [Text(""), _Whole(lines) if whole else _Code(lines)]
    below = [Text(""), text(f"Source: {finding.source}", "dim")] if finding.source else []
    title = text(f"{finding.severity}: {finding.code} {finding.rule}, step {finding.step:,}", style)
    line = "-" if plain else "─"
    return Group(
        Rule(title, align="left", style=style, characters=line),
        *(Padding(part, (0, 2)) for part in above),
        *code,
        *(Padding(part, (0, 2)) for part in below),
        Rule(style=style, characters=line),
    )


class _Whole:
    """Code as it is: a long line goes on beyond the edge, where a terminal goes on with it in the next line."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._code.splitlines():
            yield from (Segment(line), Segment.line())


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
