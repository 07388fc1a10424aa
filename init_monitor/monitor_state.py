"""The monitor's state that a resumed training needs, as a checkpoint keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from init_monitor.store.lines import finding_from, finding_json, json_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from init_monitor.records import Finding


class MonitorState(NamedTuple):
    """Where a training was.

    Attributes:
        step: the last optimizer step.
        cases: what is known already, so that it is not reported again.
        findings: every finding so far.
        units: the unit windows by layer.
        losses: the training losses so far, thinned, as (step, loss).
    """

    step: int
    cases: Mapping[str, Any]
    findings: list[Finding]
    units: Mapping[str, Any]
    losses: Sequence[tuple[int, float]] = ()

    def saved(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "step": self.step,
            "docket": self.cases,
            "findings": [finding_json(finding) for finding in self.findings],
            "units": self.units,
            "losses": json_value(self.losses),
        }

    @classmethod
    def restored(cls, saved: Mapping[str, Any]) -> MonitorState:
        """Read what :meth:`saved` returned."""
        findings = [finding_from(finding) for finding in saved["findings"]]
        # What an earlier version saved has none.
        losses = [(int(step), float(loss)) for step, loss in saved.get("losses", ())]
        return cls(int(saved["step"]), saved["docket"], findings, saved["units"], losses)
