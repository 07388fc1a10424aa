"""The code of a finding as a person gets it: printed on a console, and copied from there."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

from init_monitor.display.finding_panel import findings_panel

if TYPE_CHECKING:
    from init_monitor.records import Finding

WIDTH = 100
"""Columns of the console."""

TO_DO, SOURCE = "  What to do:", "  Source: "
"""How the paragraphs around the code begin; two columns are the margin of prose."""


def copied(finding: Finding) -> str:
    """Return the lines of code below what to do, as they stand on the console."""
    out = io.StringIO()
    Console(file=out, width=WIDTH, color_system=None).print(findings_panel(finding, plain=True, whole=True), crop=False)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    after = [i for i, line in enumerate(lines) if line.startswith(TO_DO)]
    if not finding.remedy_code or not after:
        return ""
    shown = lines[lines.index("", after[0]) + 1 : -1]  # the last line is a rule
    sources = [i for i, line in enumerate(shown) if line.startswith(SOURCE)]
    return "\n".join(shown[: sources[-1] - 1] if sources else shown)
