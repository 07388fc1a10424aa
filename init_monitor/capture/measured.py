"""A sampled step as one process saw it, before the processes are put together and before it becomes a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from init_monitor.capture.ranks import share_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from init_monitor.capture.accumulator import Accumulator
    from init_monitor.capture.drained import Drained
    from init_monitor.capture.ranks import Address, Key, Share
    from init_monitor.capture.taps import TapKey


class Measured(NamedTuple):
    """The numbers of a step.

    Attributes:
        drained: by device.
        locate: says where each is.
        order: which taps ran, in execution order.
        losses: those that came with the copy to the host.
    """

    drained: dict[Accumulator, Drained]
    locate: Callable[[], dict[Key, Address]]
    order: tuple[TapKey, ...]
    losses: Sequence[float] = ()

    @property
    def addresses(self) -> dict[Key, Address]:
        """Where each number is; only asked for where there are several processes."""
        return self.locate()

    def share(self) -> Share:
        """Return it in a form that the other ranks can read."""
        return share_of(self.addresses, self.order, self.drained)
