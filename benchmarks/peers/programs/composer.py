"""composer's ActivationMonitor in its Trainer, logging to memory."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from composer import Callback, ComposerModel, DataSpec, Trainer
from composer.callbacks import ActivationMonitor
from composer.loggers import InMemoryLogger
from torch import Tensor, nn

from benchmarks.peers.loops import RATE, Clock
from benchmarks.peers.networks import made


class Model(ComposerModel):  # type: ignore[misc]
    """A network with its loss."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: list[Tensor]) -> Tensor:
        """Return logits."""
        return self.net(batch[0])  # type: ignore[no-any-return]

    def loss(self, outputs: Tensor, batch: list[Tensor]) -> Tensor:
        """Return the cross-entropy."""
        return nn.functional.cross_entropy(outputs, batch[1])


class Ticks(Callback):  # type: ignore[misc]
    """Takes the time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def batch_start(self, *_: Any) -> None:  # noqa: ANN401
        """Begin a step."""
        self.clock.tick()

    def fit_end(self, *_: Any) -> None:  # noqa: ANN401
        """End the last one."""
        self.clock.tick()


def fit(network: str, steps: int, option: str, *, watched: bool) -> list[float]:  # noqa: ARG001 - it has none
    """Train."""
    warnings.simplefilter("ignore")
    net, inputs, targets = made(network)
    clock = Clock()
    monitor = [ActivationMonitor(interval="1ba", only_log_wandb=False)] if watched else []
    batches = torch.utils.data.DataLoader([[inputs, targets]] * steps, batch_size=None)
    # Whole batches: the words of a batch and their targets have other lengths, which composer cannot split.
    data = DataSpec(batches, split_batch=lambda batch, _: [batch], get_num_samples_in_batch=lambda _: len(inputs))
    trainer = Trainer(
        model=Model(net), train_dataloader=data, max_duration=f"{steps}ba", device_train_microbatch_size=len(inputs),
        optimizers=torch.optim.AdamW(net.parameters(), RATE), callbacks=[Ticks(clock), *monitor],
        loggers=[InMemoryLogger()], device="cpu", progress_bar=False, log_to_console=False,
    )  # fmt: skip
    trainer.fit()
    trainer.close()
    return clock.steps
