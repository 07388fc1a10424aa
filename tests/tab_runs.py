"""Runs for the tab: what real trainings write, and one as large as the tab has to bear."""

from __future__ import annotations

import dataclasses
import math
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
from browser import tensorboard
from builders import linears, record
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.tensorboard import SummaryWriter

from init_monitor import InitMonitor
from init_monitor.records.quantities import Quantity
from init_monitor.sinks import Run, TensorBoardSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclasses.dataclass
class Board:
    """A TensorBoard, the monitors whose runs it shows, and where their files are."""

    address: str
    monitors: dict[str, Any]
    logs: Path


@contextmanager
def shown(logs: Path, monitors: dict[str, Any]) -> Iterator[Board]:
    """Start a TensorBoard for what the trainings of some monitors wrote."""
    with tensorboard(logs) as address:
        yield Board(address, monitors, logs)


class Block(nn.Module):
    """A residual block without normalisation: its stream doubles."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = x + self.second(nn.functional.relu(self.first(x)))
        return summed


class Learner(pl.LightningModule):
    """Any network on a regression that it can learn."""

    def __init__(self, net: nn.Module, gain: float, rate: float) -> None:
        super().__init__()
        self.net, self.rate = net, rate
        for layer in net.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=math.sqrt(gain / layer.in_features))
                nn.init.zeros_(layer.bias)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        inputs, targets = batch
        loss = nn.functional.mse_loss(self.net(inputs), targets)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.rate)


def deep(depth: int = 24, width: int = 64) -> nn.Sequential:
    """ReLU layers one after another."""
    hidden = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(width, 4))


def residual(depth: int = 12, width: int = 64) -> nn.Sequential:
    """Residual blocks one after another."""
    return nn.Sequential(nn.Linear(width, width), *(Block(width) for _ in range(depth)), nn.Linear(width, 4))


class Tokens(nn.Module):
    """A transformer of twelve layers over eight tokens; its stream is normalised after every addition, or before."""

    def __init__(self, *, norm_first: bool) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = self.head(self.encoder(self.embed(x.view(-1, 8, 8))).mean(1))
        return summed


def fit(
    directory: Path, net: Callable[[], nn.Module], gain: float, steps: int = 40, rate: float = 1e-3, **options: Any
) -> InitMonitor:
    """Train for a moment, as a user would, and return the monitor."""
    torch.manual_seed(0)
    module = Learner(net(), gain, rate)
    inputs = torch.randn(256, 64)
    loader = DataLoader(TensorDataset(inputs, inputs[:, :4]), batch_size=32)
    monitor = InitMonitor(every_n_steps=2, sinks=[TensorBoardSink()], **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            max_steps=steps,
            max_epochs=-1,
            accelerator="cpu",
            logger=TensorBoardLogger(str(directory.parent), name="", version=directory.name),
            callbacks=[monitor],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader)
    return monitor


LARGE = (
    *(Quantity.VARIANCE, Quantity.GRADIENT_VARIANCE, Quantity.UPDATE_RATIO),
    *(Quantity.DEAD_FRACTION, Quantity.ALL_POSITIVE_FRACTION, Quantity.SATURATED_FRACTION),
)
"""What the pictures of many layers at once are drawn from; the tab asks for no other quantity there."""


def large(directory: Path, layers: int = 500, steps: int = 1000) -> None:
    """Write as many numbers as the tab has to bear, through the sink, without a training."""
    rng = np.random.default_rng(0)
    net, sink = linears(layers), TensorBoardSink()
    writer = SummaryWriter(str(directory))

    class Logger:
        experiment = writer

    sink.open(Run(loggers=(Logger(),)))
    depth = np.linspace(0, 1, layers)
    for step in range(steps):
        columns: dict[Quantity, Any] = {}
        for i, quantity in enumerate(LARGE):
            noise = rng.normal(0, 0.2, layers)
            columns[quantity] = 10 ** (noise + depth * 3 * math.exp(-step / 300) - i)
            if str(quantity).endswith("fraction"):
                columns[quantity] = np.clip(rng.normal(0.2 * step / steps, 0.05, layers), 0, 0.5)
        sink.emit(record(net, columns, step=step * 10), (), net)
    writer.flush()
    sink.close()
    writer.close()
