"""Segmentation with a Dice loss of the raw logits: its ratio is unbounded, because what should be a sum of probabilities can be anything, below 0 as well. The loss falls to
large negative numbers and jumps. Said there: Dice needs the nonlinearity applied beforehand, the cross entropy has it inside.
Does this code of nnUNet work well? -- https://github.com/MIC-DKFZ/nnUNet/issues/16
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM802 IM601 IM603 IM703",
    "remedies": (
        "GUARD",
        "SIGN",
        "LOSS_SCALE",
        "OUTPUT_SCALE",
        "OUTPUT_ACTIVATION",
        "DIMENSION",
        "SLOWER",
    ),
    "by": 200,
    "beside": "IM802 IM601 IM603 IM703 IM101 IM201 IM301",
    "layers": (),
}
MEASURED = (2.113, 0.1162)


def blobs():
    g = torch.Generator().manual_seed(0)
    centre, radius = torch.rand(2048, 2, 1, 1, generator=g) * 10 + 3, torch.rand(2048, 1, 1, generator=g) * 3 + 1.5
    grid = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij"))
    mask = ((grid - centre).square().sum(1) < radius.square()).float()[:, None]
    return DataLoader(
        TensorDataset(mask + 0.5 * torch.randn(2048, 1, 16, 16, generator=g), mask), batch_size=16, shuffle=True
    )


def dice(p, mask):
    return 1 - ((2 * p * mask).sum((1, 2, 3)) + 1) / ((p + mask).sum((1, 2, 3)) + 1)


class Segmenter(pl.LightningModule):
    def __init__(self, sigmoid):
        super().__init__()
        self.sigmoid = sigmoid
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 1, 1),
        )

    def training_step(self, batch, _):
        out = self.net(batch[0])
        return dice(out.sigmoid() if self.sigmoid else out, batch[1]).mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def faulty():
    return Segmenter(False), blobs()


def fixed():
    return Segmenter(True), blobs()


def score(module, loader):
    """Share of the object's pixels that are wrong, over its size."""
    x, mask = loader.dataset.tensors
    with torch.no_grad():
        return float(((module.net(x) > 0).float() - mask).abs().sum() / mask.sum())
