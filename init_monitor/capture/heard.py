"""What the processes of a training told each other of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from init_monitor.capture.exchange import Outcome


class Executed(NamedTuple):
    """What all processes executed, where that was not the same: each in bytes, and the numbers of what its layers got."""

    told: list[bytes]
    outcome: Outcome


class Heard(NamedTuple):
    """A step of all processes.

    Attributes:
        outcome: what they measured.
        executed: what they executed, if that was not the same.
    """

    outcome: Outcome
    executed: Executed | None = None
