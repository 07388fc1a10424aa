"""A sampled step as one process saw it, before the processes are put together and before it becomes a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from init_monitor.capture.ranks import share_of, unlike
from init_monitor.torch_compat import unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from init_monitor.capture.accumulator import Accumulator
    from init_monitor.capture.drained import Drained
    from init_monitor.capture.executions import Execution
    from init_monitor.capture.places import Places
    from init_monitor.capture.ranks import Ranks, Share
    from init_monitor.records import LossStretch


class Measured(NamedTuple):
    """The numbers of a step.

    Attributes:
        drained: by device.
        places: says where each is, and what ran; only asked where there are several processes.
        losses: those that came with the copy to the host.
    """

    drained: dict[Accumulator, Drained]
    places: Places
    losses: Sequence[float] = ()

    def share(self) -> Share:
        """Return it as the other ranks can read it."""
        return share_of(self.places.addresses(), self.places.ties(), self.drained)

    def execution(self) -> Execution:
        """Return it in full, for a step in which the ranks did not execute the same."""
        return self.places.execution(self.drained)


class Heard(NamedTuple):
    """What all ranks told of a step, in their order.

    Attributes:
        shares: what each measured; ``None`` for one that has nothing to tell.
        losses: what each knows of the loss.
        executions: what each executed, if that was not the same.
    """

    shares: Sequence[Share | None]
    losses: Sequence[LossStretch]
    executions: Sequence[Execution | None] = ()


def hear(
    ranks: Ranks,
    measured: Measured | None,
    losses: LossStretch,
    guard: Callable[[str], AbstractContextManager[object]],
) -> Heard:
    """Exchange a step with the other ranks. All of them come here at the same steps, whatever happened to each.

    Args:
        ranks: the processes.
        measured: the step, if this one measured it.
        losses: what it knows of the loss.
        guard: keeps what fails in here from the training.
    """
    if ranks.size == 1:
        return Heard((), (losses,))
    share = None
    if measured is not None:
        with guard("telling what was measured"), unseen():
            share = measured.share()
    given = ranks.exchange((share, losses))
    shares = [one for one, _ in given]
    executions: Sequence[Execution | None] = ()
    if unlike(shares):
        own = None
        if measured is not None:
            with guard("telling what ran"), unseen():
                own = measured.execution()
        executions = ranks.exchange(own)
    return Heard(shares, [stretch for _, stretch in given], executions)
