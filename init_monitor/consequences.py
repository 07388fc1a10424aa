"""What a critical finding does to the training: nothing, unless requested."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.errors import CriticalFindingError
from init_monitor.options import OnCritical
from init_monitor.records import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from init_monitor.capture.ranks import Ranks
    from init_monitor.records import Finding


def must_stop(found: Iterable[Finding], on_critical: str, ranks: Ranks) -> bool:
    """Say whether the training has to end, the same on every process: those that went on would wait for the others.

    Args:
        found: what is new at this step, in this process.
        on_critical: ``"warn"``, ``"stop"`` or ``"raise"``.
        ranks: the processes; they exchange findings if those can stop the training.

    Raises:
        CriticalFindingError: a critical finding is new in any of them and ``on_critical="raise"``.
    """
    if on_critical == OnCritical.WARN.value:
        return False
    critical = [finding for finding in found if finding.severity is Severity.CRITICAL]
    told = [f"{f.code} {f.rule} at step {f.step}: {f.message} {f.remedy_sentence}" for f in critical[:1]]
    heard = [words for given in ranks.exchange(told) for words in given]
    if heard and on_critical == OnCritical.RAISE.value:
        raise CriticalFindingError(heard[0])
    return bool(heard)
