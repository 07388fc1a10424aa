"""The training loops that monitors are made for: a plain one, and Lightning's. Both take the CPU time of every step."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmarks.peers.networks import made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from torch import Tensor

    Around = Callable[[nn.Module, torch.optim.Optimizer, Tensor], AbstractContextManager[Callable[[int], Any]]]

RATE = 1e-5


class Clock:
    """Takes the CPU time of the process, all of its threads, from the start of one step to that of the next."""

    def __init__(self) -> None:
        self._ticks: list[float] = []

    def tick(self) -> None:
        """Note the time; at the start of each step, and after the last one."""
        self._ticks.append(time.process_time())

    @property
    def steps(self) -> list[float]:
        """Seconds of each step."""
        return [after - before for before, after in zip(self._ticks, self._ticks[1:], strict=False)]


@contextlib.contextmanager
def alone(*_: object) -> Iterator[Callable[[int], AbstractContextManager[None]]]:
    """Watch nothing."""
    yield lambda _step: contextlib.nullcontext()


def plain(network: str, steps: int, around: Around = alone) -> list[float]:
    """Train with a loop of one's own.

    Args:
        network: a name of ``NETWORKS``.
        steps: how many.
        around: takes network, optimizer and batch, and gives a context for the training, in which a function gives one
            for every step.

    Returns:
        CPU seconds of each step.
    """
    model, inputs, targets = made(network)
    optimizer = torch.optim.AdamW(model.parameters(), RATE)
    clock = Clock()
    with around(model, optimizer, inputs) as step:
        for number in range(steps):
            clock.tick()
            with step(number):
                loss = nn.functional.cross_entropy(model(inputs), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        clock.tick()
    return clock.steps


def lightning(network: str, steps: int, callbacks: list[Any]) -> list[float]:
    """Train with Lightning and its TensorBoard logger; return CPU seconds of each step."""
    import pytorch_lightning as pl  # noqa: PLC0415 - not every monitor's environment has it
    from pytorch_lightning.loggers import TensorBoardLogger  # noqa: PLC0415
    from torch.utils.data import DataLoader  # noqa: PLC0415

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    model, inputs, targets = made(network)
    clock = Clock()

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), RATE)

    class Ticks(pl.Callback):
        def on_train_batch_start(self, *_: object) -> None:
            clock.tick()

    class Last(pl.Callback):
        def on_train_end(self, *_: object) -> None:
            clock.tick()

    with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stdout(io.StringIO()):
        trainer = pl.Trainer(
            max_steps=steps, accelerator="cpu", logger=TensorBoardLogger(directory), default_root_dir=directory,
            callbacks=[Ticks(), *callbacks, Last()], enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, log_every_n_steps=1,
        )  # fmt: skip
        trainer.fit(Module(), DataLoader([[inputs, targets]] * steps, batch_size=None))  # type: ignore[arg-type]
    return clock.steps
