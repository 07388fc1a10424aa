"""Boxes are regressed in pixels of 0 to 640 with an L1 loss, which hardly falls; the other heads learn.
Cause: targets far from what the network gives. Answer: normalise the coordinates.
Bounding Box Regression task not learning, it has constant loss -- https://github.com/SeokjuLee/VPGNet/issues/53
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = None  # nothing to be said by a signal monitor
MEASURED = (0.7071, 0.3218)


def boxes(scale):
    g = torch.Generator().manual_seed(0)
    corner = torch.rand(2048, 2, generator=g) * 0.5
    size = 0.2 + torch.rand(2048, 2, generator=g) * 0.3
    grid = (torch.arange(16) + 0.5) / 16
    inside = lambda k: (grid > corner[:, k : k + 1]) & (grid < corner[:, k : k + 1] + size[:, k : k + 1])
    images = (inside(1)[:, :, None] & inside(0)[:, None, :]).float().unsqueeze(1)
    return DataLoader(TensorDataset(images, torch.cat([corner, size], 1) * scale), batch_size=32, shuffle=True)


class Detect(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 64),
            nn.ReLU(),
            nn.Linear(64, 4),
        )

    def training_step(self, batch, _):
        return F.l1_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-4)


def faulty():
    return Detect(), boxes(640.0)


def fixed():
    return Detect(), boxes(1.0)


def score(module, loader):
    x, y = loader.dataset.tensors
    return F.l1_loss(module.net(x), y) / y.std()
