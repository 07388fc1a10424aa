"""BYOL with the heads and the loss of lightly: a copy of the network follows it and is never trained."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytorch_lightning as pl
import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.clients.program import Expected, Program
from benchmarks.clients.watching import STEPS

if TYPE_CHECKING:
    from benchmarks.clients.watching import Watching

FEATURES, BATCH = 24, 64


class Byol(pl.LightningModule):
    """A backbone of two layers, heads of two layers each, and their momentum copies."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(FEATURES, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))
        self.projection = BYOLProjectionHead(32, 64, 16)
        self.prediction = BYOLPredictionHead(16, 64, 16)
        self.backbone_momentum, self.projection_momentum = copy.deepcopy(self.backbone), copy.deepcopy(self.projection)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_momentum)
        self.loss = NegativeCosineSimilarity()

    def student(self, x: Tensor) -> Tensor:
        """Predict what the teacher makes of another view."""
        predicted: Tensor = self.prediction(self.projection(self.backbone(x)))
        return predicted

    def teacher(self, x: Tensor) -> Tensor:
        """Project a view by the momentum copies, without a gradient."""
        projected: Tensor = self.projection_momentum(self.backbone_momentum(x))
        return projected.detach()

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Return the loss of a batch."""
        update_momentum(self.backbone, self.backbone_momentum, m=0.99)
        update_momentum(self.projection, self.projection_momentum, m=0.99)
        first, second = (batch[0] + 0.3 * torch.randn_like(batch[0]) for _ in range(2))
        one, other = self.student(first), self.student(second)
        loss: Tensor = 0.5 * (self.loss(one, self.teacher(second)) + self.loss(other, self.teacher(first)))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer."""
        return torch.optim.SGD(self.parameters(), lr=0.06, momentum=0.9)


def train(watching: Watching) -> nn.Module:
    """Learn clouds of eight kinds without their labels."""
    kinds = torch.randn(8, FEATURES)[torch.randint(0, 8, (STEPS * BATCH,))]
    module = Byol()
    trainer = pl.Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=watching.callbacks(pl),
    )
    trainer.fit(module, DataLoader(TensorDataset(kinds + 0.5 * torch.randn_like(kinds)), batch_size=BATCH))
    return module


# The student is backbone (two Linear), projection (two) and prediction (two), called twice: 12 rows. The teacher's copies
# (two and two) are called twice as well, with a gradient recorded but detached: 8 rows. Nothing is added to its input.
PROGRAM = Program(
    distribution="lightly",
    kind="self-supervised (BYOL)",
    loop="pytorch_lightning",
    train=train,
    expected=Expected(
        weights={
            "backbone.?": 4,
            "projection.layers.?": 4,
            "prediction.layers.?": 4,
            "backbone_momentum.?": 4,
            "projection_momentum.layers.?": 4,
        },
        residuals=0,
        others=("backbone*", "projection*", "prediction*"),
        inputs={
            "backbone.0#1": ("input",),
            "backbone.0#2": ("input",),
            "backbone_momentum.0#1": ("input",),
            "projection.layers.0#2": ("backbone.3#2",),
        },
    ),
)
