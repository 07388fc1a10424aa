"""A hypernetwork: one network makes the weights of another from what the task is. The other has no parameters of its own."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = None  # nothing to be said by a signal monitor


def tasks():
    g = torch.Generator().manual_seed(0)
    task = torch.randn(1024, 3, generator=g)
    x = torch.rand(1024, 16, 1, generator=g) * 2 - 1
    y = task[:, :1, None] * torch.sin(3 * x) + task[:, 1:2, None] * x + task[:, 2:, None]
    return DataLoader(TensorDataset(task, x, y), batch_size=32, shuffle=True)


class Hyper(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 3 * 24 + 1))

    def training_step(self, batch, _):
        task, x, y = batch
        w1, b1, w2, b2 = self.net(task).split([24, 24, 24, 1], 1)
        h = torch.tanh(x * 3 * w1[:, None] + b1[:, None])
        return F.mse_loss(h @ w2[..., None] + b2[:, None], y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def faulty():
    return Hyper(), tasks()
