"""fastai's ActivationStats in its Learner."""

from __future__ import annotations

from functools import partial

import fastai.callback.progress  # noqa: F401 - gives a Learner its no_bar
import torch
from fastai.callback.core import Callback
from fastai.callback.hook import ActivationStats
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import OptimWrapper
from torch import nn

from benchmarks.peers.loops import RATE, Clock
from benchmarks.peers.networks import made


class Ticks(Callback):  # type: ignore[misc]
    """Takes the time."""

    order = -100

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def before_batch(self) -> None:
        """Begin a step."""
        self.clock.tick()

    def after_fit(self) -> None:
        """End the last one."""
        self.clock.tick()


def fit(network: str, steps: int, option: str, *, watched: bool) -> list[float]:  # noqa: ARG001 - it has none
    """Train."""
    model, inputs, targets = made(network)
    clock = Clock()
    batches = torch.utils.data.DataLoader([(inputs, targets)] * steps, batch_size=None)
    learner = Learner(
        DataLoaders(batches, []), model, loss_func=nn.functional.cross_entropy, lr=RATE,
        opt_func=partial(OptimWrapper, opt=torch.optim.AdamW), cbs=[Ticks(clock), *([ActivationStats()] if watched else [])],
    )  # fmt: skip
    with learner.no_bar(), learner.no_logging():
        learner.fit(1)
    return clock.steps
