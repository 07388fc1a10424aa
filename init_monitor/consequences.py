"""What a critical finding does to the training: nothing, unless requested."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.errors import CriticalFindingError
from init_monitor.options import OnCritical
from init_monitor.records import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from init_monitor.records import Finding


def must_stop(found: Iterable[Finding], on_critical: str) -> bool:
    """Say whether the training has to end, the same on every process, since all know what was found.

    Args:
        found: what is new at this step.
        on_critical: ``"warn"``, ``"stop"`` or ``"raise"``.

    Raises:
        CriticalFindingError: a critical finding is new and ``on_critical="raise"``.
    """
    if on_critical == OnCritical.WARN.value:
        return False
    critical = [finding for finding in found if finding.severity is Severity.CRITICAL]
    if critical and on_critical == OnCritical.RAISE.value:
        f = critical[0]
        message = f"{f.code} {f.rule} at step {f.step}: {f.message} {f.remedy_sentence}"
        raise CriticalFindingError(message)
    return bool(critical)
