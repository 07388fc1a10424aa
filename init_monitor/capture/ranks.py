"""Several processes, one training: what each measured on its share of the batch, merged once per sampled step.

The record of a step is then the one a single process would have written of the whole batch, equal everywhere to the last
bit. What travels is reduced on its way (:mod:`init_monitor.capture.exchange`), in a process group of its own (gloo, on the
host): it can neither overtake nor delay a collective of the training, and its time is limited. A rank whose monitor failed
still takes part, with nothing to tell.
"""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from init_monitor.capture.exchange import How, exchange, letters, verdict
from init_monitor.records import LossStretch

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor.capture.catalogue import Catalogue
    from init_monitor.capture.exchange import Asking, Outcome, Question
    from init_monitor.capture.share import Share

PATIENCE = dt.timedelta(minutes=5)
"""How long a rank waits for the others at a sampled step. They meet at every backward, so that a wait of minutes means
that one is gone (or writes a very large checkpoint alone)."""


class Ranks:
    """The processes of a training and their exchange; with one process nothing is exchanged.

    Args:
        notify: told in words, once, when the others could not be reached: each rank then continues on its own.

    Attributes:
        size: how many there are; 1 once they could not be reached.
        rank: the number of this one.
        judge: the number of the one that judges the present step; ``None`` if none can.
    """

    def __init__(self, notify: Callable[[str], None]) -> None:
        """Begin as the only process."""
        self._notify = notify
        self._group: Any = None
        self._catalogue: Catalogue | None = None
        self._executed: Catalogue | None = None
        self.size, self.rank = 1, 0
        self.judge: int | None = 0

    def join(self) -> None:
        """Join the other processes. All of them have to call it, at the same point of the training."""
        if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() == 1:
            return
        try:
            self._group = distributed.new_group(backend="gloo", timeout=PATIENCE)
            self.size, self.rank = distributed.get_world_size(self._group), distributed.get_rank(self._group)
        except Exception as error:  # noqa: BLE001 - measuring must not stop a training
            self._leave(error)

    def put_together(self, share: Share | None, losses: LossStretch) -> Outcome | None:
        """Return what all ranks measured; ``None`` if this is the only one. Blocks until all have come; never raises.

        Args:
            share: what this rank measured; ``None`` if it has nothing to tell.
            losses: of the optimizer steps since the record before.
        """
        outcome: Outcome | None = None
        if self.size > 1:
            outcome = self._ask(exchange(self.rank, self._catalogue, share, losses))
        if outcome is not None:
            self._catalogue, self.judge = outcome.catalogue, outcome.judge
        return outcome

    def put_executions_together(self, share: Share | None, told: bytes) -> tuple[Outcome, list[bytes]] | None:
        """Return what all ranks measured where they did not execute the same, and what each tells of what it executed.

        ``None`` if they could not be reached. All ranks come here at the same steps; never raises.
        """
        outcome: Outcome | None = self._ask(exchange(self.rank, self._executed, share, LossStretch()))
        heard: list[bytes] | None = None if outcome is None else self._ask(letters(told))
        if outcome is None or heard is None:
            return None
        self._executed = outcome.catalogue
        return outcome, heard

    def hear(self, said: bytes) -> bytes | None:
        """Return what the rank that judges says; ``None`` if it could not be reached. Blocks until it has; never raises."""
        if self.size == 1 or self.judge is None:
            return said
        found: bytes | None = self._ask(verdict(self.judge, said))
        return found

    def leave(self) -> None:
        """Leave the group at the end of a training, without waiting; never raises."""
        if self._group is not None and distributed.is_initialized():
            # The training may have taken all groups down already, this one too.
            with suppress(Exception):
                distributed.destroy_process_group(self._group)
        self._forget()

    def _ask(self, asking: Asking) -> Any:  # noqa: ANN401 - whatever it returns
        """Answer the questions of an exchange; ``None``, and alone from now on, where that fails."""
        answers: list[Any] | None = None
        try:
            while True:
                questions = asking.send(answers)  # type: ignore[arg-type]
                # All are on their way before the first is waited for.
                begun = [_begun(question, self._group, self.size) for question in questions]
                answers = [finish() for finish in begun]
        except StopIteration as done:
            return done.value
        except Exception as error:  # noqa: BLE001 - a rank that is gone must not stop the others
            self._leave(error)
            return None

    def _leave(self, error: Exception) -> None:
        # The group is not destroyed: that could wait for the others again.
        self._forget()
        self._notify(
            f"the other processes could not be reached ({type(error).__name__}: {error}): from now on the numbers are"
            " those of each process alone."
        )

    def _forget(self) -> None:
        self._group, self._catalogue, self._executed = None, None, None
        self.size, self.rank, self.judge = 1, 0, 0


def _begun(question: Question, group: Any, size: int) -> Callable[[], Any]:  # noqa: ANN401 - torch does not name it
    """Send a question on its way; the result waits for its answer."""
    array = question.array.copy()
    if not array.size:
        # All ranks know that it is empty.
        return lambda: [array] * size if question.how is How.ALL else array
    mine = torch.from_numpy(array)
    if question.how is How.ALL:
        room = [torch.empty_like(mine) for _ in range(size)]
        work = distributed.all_gather(room, mine, group=group, async_op=True)
        return lambda: (work.wait(), [one.numpy() for one in room])[1]
    if question.how is How.FROM_ONE:
        work = distributed.broadcast(mine, src=question.source, group=group, async_op=True)
    else:
        work = distributed.all_reduce(mine, op=_OPERATIONS[question.how], group=group, async_op=True)
    return lambda: (work.wait(), array)[1]


_OPERATIONS = (
    {
        How.SUM: distributed.ReduceOp.SUM,
        How.LARGEST: distributed.ReduceOp.MAX,
        How.ANY_BIT: distributed.ReduceOp.BOR,
    }
    if distributed.is_available()
    else {}
)
