"""A physics-informed network for u'' + k^2 u = 0 with k = 12: the squared residual is of the order of k^4 = 20 000, the two boundary conditions count 1. It finds u = 0, which
solves the equation. Found there: after making the weight of the equation's loss very small, the error was small.
2D laplace equation -- https://github.com/lululxvi/deepxde/issues/279
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 600
ANSWER = {
    "codes": "IM702 IM102 IM801 IM603 IM202",
    "remedies": (
        "LOSS_TERM",
        "LOSS_SCALE",
        "TARGET",
    ),
    "by": 500,
    "beside": "IM702 IM102 IM603 IM202 IM201",
    "layers": (),
}
MEASURED = (0.1457, 1.274e-06)


K = 12.0


def points():
    g = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(torch.rand(4096, 1, generator=g)), batch_size=64, shuffle=True)


class Wave(pl.LightningModule):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight
        self.first = nn.Linear(1, 64)
        nn.init.uniform_(self.first.weight, -K, K)
        self.second, self.third = nn.Linear(64, 64), nn.Linear(64, 1)

    def forward(self, x):
        return self.third(torch.tanh(self.second(torch.sin(self.first(x)))))

    def training_step(self, batch, _):
        x = batch[0].requires_grad_(True)
        u = self(x)
        slope = torch.autograd.grad(u.sum(), x, create_graph=True)[0]
        bend = torch.autograd.grad(slope.sum(), x, create_graph=True)[0]
        equation = (bend + K**2 * u).square().mean()
        start = torch.zeros(1, 1, requires_grad=True)
        at = self(start)
        rise = torch.autograd.grad(at.sum(), start, create_graph=True)[0]
        boundary = at.square().sum() + (rise / K - 1).square().sum()
        return self.weight * equation + boundary

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def faulty():
    return Wave(1.0), points()


def fixed():
    return Wave(K**-4), points()


def score(module, loader):
    """Mean squared error against sin(kx)."""
    x = torch.linspace(0, 1, 200)[:, None]
    with torch.no_grad():
        return float((module(x) - torch.sin(K * x)).square().mean())
