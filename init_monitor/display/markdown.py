"""A finding as Markdown: for TensorBoard's Text tab and for the report."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from init_monitor.display.formatting import layer_range
from init_monitor.records.evidence import figure_rows, measured_at
from init_monitor.records.quoting import printable

if TYPE_CHECKING:
    from init_monitor.display.step_tables import TextTable
    from init_monitor.records import Finding

_SPECIAL = str.maketrans({one: f"\\{one}" for one in "\\`*_[]<>|#"})

_FENCE = 3
"""Backticks around a code block at least."""


def escaped(text: str, *, lines: bool = False) -> str:
    r"""Return ``text`` so that Markdown shows it as it is.

    Args:
        text: anything, for instance the name of a layer.
        lines: keep line ends.

    >>> print(escaped("net.<b>\u202e|`x`"))
    net.\<b\>\\u202e\|\`x\`
    """
    return printable(text, lines=lines).translate(_SPECIAL)


def markdown_table(table: TextTable) -> list[str]:
    """Return the lines of a table; numbers stand at the right."""
    marks = (":--" if column in table.left else "--:" for column in table.columns)
    rows = (f"| {' | '.join(map(escaped, row))} |" for row in (table.columns, *table.rows))
    head, *body = rows
    return [head, f"|{'|'.join(marks)}|", *body]


def finding_markdown(finding: Finding, *, level: int = 3) -> str:
    """Return the finding with its figures as a table and its code as a code block.

    Args:
        finding: what was found.
        level: of its heading, 1 to 6.
    """
    title = f"{finding.code} {finding.rule} ({finding.severity}, step {finding.step:,})"
    parts = [f"{'#' * level} {escaped(title)}"]
    if finding.layers:
        parts.append(f"Layers: {escaped(layer_range(finding.shown_layers))}")
    parts.append(escaped(finding.message, lines=True))
    figures = figure_rows(finding)
    if figures:
        rows = (f"| {' | '.join(map(escaped, row))} |" for row in figures)
        parts.append("\n".join((f"| | {measured_at(finding)} | expected |", "| --- | --- | --- |", *rows)))
    if finding.remedy_sentence:
        parts.append(f"**What to do:** {escaped(finding.remedy_sentence, lines=True)}")
    if finding.remedy_code:
        code = printable(finding.remedy_code.rstrip(), lines=True)
        # A block ends at a fence as long as its own: one that is longer than any in the code does not end early.
        fence = "`" * max(_FENCE, 1 + max(map(len, re.findall("`+", code)), default=0))
        parts.append(f"{fence}python\n{code}\n{fence}")
    if finding.source:
        parts.append(f"Source: {escaped(finding.source)}")
    return "\n\n".join(parts)
