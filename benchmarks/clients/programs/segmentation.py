"""A U-Net with a ResNet encoder of segmentation-models-pytorch finds discs in noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytorch_lightning as pl
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.clients.program import Expected, Program
from benchmarks.clients.watching import STEPS

if TYPE_CHECKING:
    from benchmarks.clients.watching import Watching

SIDE, BATCH = 32, 4


class Segmentation(pl.LightningModule):
    """A U-Net and the library's Dice loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = smp.Unet("resnet18", encoder_weights=None, decoder_channels=(64, 32, 16, 16, 8), in_channels=1)
        self.loss = smp.losses.DiceLoss(mode="binary")

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the loss of a batch."""
        loss: Tensor = self.loss(self.net(batch[0]), batch[1])
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def discs(count: int) -> TensorDataset:
    """Return noisy pictures of one disc each, and where it is."""
    axis = torch.arange(SIDE)
    centre, radius = torch.randint(8, SIDE - 8, (count, 2, 1, 1)), torch.randint(4, 9, (count, 1, 1))
    mask = (((axis[:, None] - centre[:, 0]) ** 2 + (axis - centre[:, 1]) ** 2) < radius**2)[:, None].float()
    return TensorDataset(mask + 0.5 * torch.randn_like(mask), mask)


def train(watching: Watching) -> nn.Module:
    """Train the whole U-Net from its own initialisation."""
    module = Segmentation()
    trainer = pl.Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=watching.callbacks(pl),
    )
    trainer.fit(module, DataLoader(discs(STEPS * BATCH), batch_size=BATCH))
    return module


# resnet18: conv1, four stages of two blocks of two convolutions, a downsampling convolution in three of them: 1 + 16 + 3 =
# 20 and eight residual additions. Decoder: five blocks of two convolutions (Sequential of convolution, BatchNorm, ReLU);
# its skips are concatenated. One convolution as the head: 31. The Dice loss applies logsigmoid and exp, after the network.
PROGRAM = Program(
    distribution="segmentation-models-pytorch",
    kind="segmentation",
    loop="pytorch_lightning",
    train=train,
    expected=Expected(
        weights={
            "net.encoder.conv1": 1,
            "net.encoder.layer?.?.conv?": 16,
            "net.encoder.layer?.0.downsample.0": 3,
            "net.decoder.blocks.?.conv?.0": 10,
            "net.segmentation_head.0": 1,
        },
        residuals=8,
        others=("net.encoder.*", "net.decoder.blocks.*"),
        inputs={
            "net.encoder.conv1": ("input",),
            "net.segmentation_head.0": ("net.decoder.blocks.4.conv2.2",),
            "net.decoder.blocks.0.conv1.0": ("net.encoder.layer3.1.relu#2", "net.encoder.layer4.1.relu#2"),
        },
    ),
)
