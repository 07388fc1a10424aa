"""What the list of runs says of each: how bad it is, and what was found first of the worst. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from init_monitor.records import Severity, settled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Finding


def run_verdict(findings: Sequence[Finding], *, looked: bool) -> dict[str, Any]:
    """Return the verdict as JSON values.

    ``counts`` has a number for each severity; ``first`` is the earliest of the most severe findings (``code``, ``rule``,
    ``severity``, ``step``, ``message``, ``layers``), ``null`` if there is none; ``looked`` is false where no rule was
    checked yet.

    Args:
        findings: of the run, oldest first.
        looked: whether the run says what was found.
    """
    holding = settled(findings)
    first = min(holding, key=lambda one: (-one.severity.rank, one.step), default=None)
    return {
        "counts": {str(severity): sum(one.severity is severity for one in holding) for severity in reversed(Severity)},
        "first": None
        if first is None
        else {
            "code": first.code,
            "rule": first.rule,
            "severity": str(first.severity),
            "step": first.step,
            "message": first.message,
            "layers": list(first.layers),
        },
        "looked": looked,
    }
