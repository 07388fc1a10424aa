"""A sampled step as one process saw it, before the processes are put together and before it becomes a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.capture.accumulator import Accumulator
    from init_monitor.capture.drained import Drained
    from init_monitor.capture.taps import TapKey


class Measured(NamedTuple):
    """The numbers of a step.

    Attributes:
        drained: by device.
        order: which taps ran, in execution order.
        losses: those that came with the copy to the host.
    """

    drained: dict[Accumulator, Drained]
    order: tuple[TapKey, ...]
    losses: Sequence[float] = ()
