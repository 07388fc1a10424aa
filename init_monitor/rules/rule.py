"""The protocol of a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from init_monitor.records import Finding, History


@runtime_checkable
class Rule(Protocol):
    """Judges a window of records. Pure: it keeps nothing and changes nothing.

    ``code`` is stable (``"IM101"``); ``name`` is its plain name (``"exploding-activations"``). ``judge`` returns the
    findings that hold *now*: at most one per severity and group of layers. Repeats are suppressed for it.
    """

    @property
    def code(self) -> str:
        """Stable code."""
        ...

    @property
    def name(self) -> str:
        """Plain name."""
        ...

    def judge(self, history: History) -> Iterable[Finding]:
        """Return the findings that hold at ``history.last`` (the history has at least one record)."""
        ...
