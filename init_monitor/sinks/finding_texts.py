"""Findings for TensorBoard's Text tab: an entry each, worst first.

The tab sorts its entries by tag, so a tag begins with the severity's rank. What was written cannot be taken out again: an
entry that a later finding took back gets a last word that says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.display.markdown import escaped, finding_markdown
from init_monitor.records import Severity, settled
from init_monitor.records.quoting import printable
from init_monitor.records.tags import PLUGIN_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.records import Finding

FINDINGS_TEXT_TAG = f"{PLUGIN_NAME}_findings"


class FindingTexts:
    """Remembers what was written, so that each finding is written once."""

    def __init__(self) -> None:
        self._written: list[tuple[str, Finding]] = []
        """Tag and finding of each entry that still holds."""

    def new(self, findings: Sequence[Finding]) -> Iterator[tuple[str, str]]:
        """Yield tag and Markdown of what has to be written now.

        Args:
            findings: all of the run so far, oldest first.
        """
        holding = settled(findings)
        for tag, finding in tuple(self._written):
            if not any(finding is one for one in holding):
                self._written.remove((tag, finding))
                yield tag, _withdrawn(finding, holding)
        known = {id(finding) for _, finding in self._written}
        for finding in holding:
            if id(finding) not in known:
                tag = self._free(tag_of(finding))
                self._written.append((tag, finding))
                yield tag, finding_markdown(finding)

    def _free(self, tag: str) -> str:
        """Return the tag, with a number where another finding of the same rule and severity has it."""
        taken = {one for one, _ in self._written}
        number = 2
        free = tag
        while free in taken:
            free = f"{tag}_{number}"
            number += 1
        return free


def tag_of(finding: Finding) -> str:
    """Return the tag of a finding's entry.

    >>> from init_monitor.records import Finding
    >>> tag_of(Finding("dead-relu", "IM301", Severity.WARNING, ("act",), 3, "…"))
    'init_monitor_findings/2_warning/IM301_dead-relu'
    """
    place = 1 + Severity.CRITICAL.rank - finding.severity.rank
    return f"{FINDINGS_TEXT_TAG}/{place}_{finding.severity}/{printable(f'{finding.code}_{finding.rule}')}"


def _withdrawn(finding: Finding, holding: Sequence[Finding]) -> str:
    later = next((one for one in reversed(holding) if one.takes_back and one.code == finding.code), None)
    words = f": {escaped(later.message, lines=True)}" if later is not None else "."
    return f"### {escaped(finding.code)} {escaped(finding.rule)}: taken back\n\nThis no longer holds{words}"
