"""wandb.watch with everything it can log, offline."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING

import wandb

from benchmarks.peers.loops import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from torch import Tensor, nn, optim


@contextlib.contextmanager
def logged(model: nn.Module, _: optim.Optimizer, __: Tensor) -> Iterator[Callable[[int], AbstractContextManager[None]]]:
    """Watch every step; what hooks have gathered is taken by ``log`` at its end."""
    with tempfile.TemporaryDirectory() as directory:
        run = wandb.init(mode="offline", dir=directory, settings=wandb.Settings(silent=True))
        run.watch(model, log="all", log_freq=1)

        @contextlib.contextmanager
        def step(number: int) -> Iterator[None]:
            yield
            run.log({"step": number})

        yield step
        run.unwatch(model)
        run.finish()


def fit(network: str, steps: int, option: str, *, watched: bool) -> list[float]:  # noqa: ARG001 - it has none
    """Train."""
    os.environ["WANDB_SILENT"] = "true"
    return plain(network, steps, logged) if watched else plain(network, steps)
