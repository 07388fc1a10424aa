"""The monitor's state that a resumed training needs, as a checkpoint keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from init_monitor.store.lines import finding_from, finding_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.records import Finding


class MonitorState(NamedTuple):
    """Where a training was.

    Attributes:
        step: the last optimizer step.
        cases: what is known already, so that it is not reported again.
        findings: every finding so far.
        units: the unit windows by layer.
    """

    step: int
    cases: Mapping[str, Any]
    findings: list[Finding]
    units: Mapping[str, Any]

    def saved(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "step": self.step,
            "docket": self.cases,
            "findings": [finding_json(finding) for finding in self.findings],
            "units": self.units,
        }

    @classmethod
    def restored(cls, saved: Mapping[str, Any]) -> MonitorState:
        """Read what :meth:`saved` returned."""
        findings = [finding_from(finding) for finding in saved["findings"]]
        return cls(int(saved["step"]), saved["docket"], findings, saved["units"])
