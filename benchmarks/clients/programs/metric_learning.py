"""Embeddings learn with a miner and a loss of pytorch-metric-learning, which is a module of the LightningModule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytorch_lightning as pl
import torch
from pytorch_metric_learning import losses, miners
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.clients.program import Expected, Program
from benchmarks.clients.watching import STEPS

if TYPE_CHECKING:
    from benchmarks.clients.watching import Watching

CLASSES, FEATURES, BATCH = 8, 20, 64


class Metric(pl.LightningModule):
    """A network of three layers, compared by cosine."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(FEATURES, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16)
        )
        self.miner = miners.MultiSimilarityMiner()
        self.loss = losses.MultiSimilarityLoss()

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the loss of a batch."""
        embedded = self.net(batch[0])
        loss: Tensor = self.loss(embedded, batch[1], self.miner(embedded, batch[1]))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def train(watching: Watching) -> nn.Module:
    """Tell classes with overlapping clouds from each other."""
    kind = torch.arange(CLASSES).repeat(STEPS * BATCH // CLASSES)
    features = torch.randn(CLASSES, FEATURES)[kind] + torch.randn(len(kind), FEATURES)
    module = Metric()
    trainer = pl.Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=watching.callbacks(pl),
    )
    trainer.fit(module, DataLoader(TensorDataset(features, kind), batch_size=BATCH))
    return module


# Three Linear layers. The miner and the loss, with the distances and reducers inside them, come after the network: what
# they give (pair indices, similarities, per-sample losses) is none of its layers.
PROGRAM = Program(
    distribution="pytorch-metric-learning",
    kind="metric learning",
    loop="pytorch_lightning, logger=False",
    train=train,
    expected=Expected(
        weights={"net.0": 1, "net.3": 1, "net.5": 1},
        residuals=0,
        others=("net.*",),
        inputs={"net.0": ("input",), "net.3": ("net.2",), "net.5": ("net.4",)},
    ),
)
