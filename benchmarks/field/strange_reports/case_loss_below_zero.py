"""Depth and its uncertainty learned together: |error| * exp(-s) + s, s a learned number for each of three tasks. As the errors get small the loss goes below 0, and
keeps on falling slowly. Asked there: after enough steps the total loss becomes negative. Answer: negative loss is OK here.
Negative loss -- https://github.com/aharley/simple_bev/issues/13
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 500
ANSWER = None
MEASURED = None


def tasks():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(4096, 10, generator=g)
    y = torch.stack([x[:, 0] * x[:, 1], x[:, 2:5].sum(1), torch.sin(2 * x[:, 5])], 1) * torch.tensor([1.0, 0.1, 0.01])
    return DataLoader(TensorDataset(x, y + 0.003 * torch.randn(y.shape, generator=g)), batch_size=64, shuffle=True)


class Three(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 3))
        self.s = nn.Parameter(torch.zeros(3))

    def training_step(self, batch, _):
        wrong = (self.net(batch[0]) - batch[1]).abs().mean(0)
        return ((-self.s).exp() * wrong + self.s).sum()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def faulty():
    return Three(), tasks()
