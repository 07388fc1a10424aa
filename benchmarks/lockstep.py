"""Trainings that take turns, a step each, so that whatever else the machine does falls on all of them alike."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Turns:
    """Lets several threads run one after another, and takes the CPU time of every turn.

    It is that of the whole process (a sink may have a thread of its own): only one of them runs at any time.

    Args:
        names: of the threads, in their order.

    Attributes:
        taken: seconds of each turn, by name.
    """

    def __init__(self, names: list[str]) -> None:
        self.taken: dict[str, list[float]] = {name: [] for name in names}
        self._waiting = list(names)
        self._changed = threading.Condition()
        self._began = 0.0

    def begin(self, name: str) -> None:
        """Wait until it is one's turn."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting[0] == name)
        self._began = time.process_time()

    def give(self, name: str) -> None:
        """End a turn, and wait for the next."""
        self._end(name)
        self._pass(name, again=True)
        self.begin(name)

    def leave(self, name: str) -> None:
        """End the last turn."""
        self._end(name)
        self._pass(name, again=False)

    def _end(self, name: str) -> None:
        self.taken[name].append(time.process_time() - self._began)

    def _pass(self, name: str, *, again: bool) -> None:
        with self._changed:
            self._waiting.pop(0)
            if again:
                self._waiting.append(name)
            self._changed.notify_all()


class GivesTurns(pl.Callback):
    """Gives the turn away at the start of every batch; put first among the callbacks, it leaves a whole step to each turn."""

    def __init__(self, turns: Turns, name: str) -> None:
        self._turns, self._name = turns, name

    def on_train_batch_start(self, *_: Any) -> None:  # noqa: ANN401 - Lightning's arguments
        """Let the others take a step."""
        self._turns.give(self._name)


def in_turns(trainings: Mapping[str, Callable[[pl.Callback], None]]) -> dict[str, list[float]]:
    """Run trainings side by side; return the CPU seconds of the turns of each.

    The first turn is all that comes before the first step, the last one the last step and all that comes after it.

    Args:
        trainings: each is given a callback, to be the first of its Trainer's.

    Raises:
        RuntimeError: one of them failed.
    """
    turns = Turns(list(trainings))
    failed: list[str] = []

    def run(name: str, train: Callable[[pl.Callback], None]) -> None:
        torch.set_num_threads(1)
        turns.begin(name)
        try:
            train(GivesTurns(turns, name))
        except BaseException as error:
            failed.append(f"{name}: {type(error).__name__}: {error}")
            raise
        finally:
            turns.leave(name)

    threads = [threading.Thread(target=run, args=one) for one in trainings.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError("; ".join(failed))
    return turns.taken
