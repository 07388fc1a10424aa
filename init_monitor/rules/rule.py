"""The protocol of a rule, and what a rule may look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from init_monitor.records import Finding, StepRecord, Structure


@dataclass(frozen=True, slots=True)
class History:
    """The window of records that rules judge, oldest first, with the network they were measured on."""

    records: Sequence[StepRecord]
    structure: Structure

    @property
    def last(self) -> StepRecord:
        """The newest record."""
        return self.records[-1]


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
