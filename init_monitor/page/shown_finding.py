"""A finding as the pages get it: its stored form, and its numbers with titles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from init_monitor.records.evidence import figure_rows, measured_at
from init_monitor.records.quoting import printable
from init_monitor.store import finding_json

if TYPE_CHECKING:
    from init_monitor.records import Finding


def shown_finding(finding: Finding) -> dict[str, Any]:
    """Return :func:`~init_monitor.store.finding_json` with the table of its numbers.

    ``figures`` holds what each is, what was measured and what was expected; ``measured`` is the head of the middle column.
    """
    return finding_json(finding) | {
        "figures": [[printable(cell) for cell in row] for row in figure_rows(finding)],
        "measured": measured_at(finding),
    }
