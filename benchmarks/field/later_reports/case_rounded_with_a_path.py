"""Training for integers: weights are rounded to 15 levels in the forward pass, and the gradient passes straight through. It is meant so."""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = None  # nothing to be said by a signal monitor


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Rounded(nn.Linear):
    def forward(self, x):
        step = self.weight.detach().abs().max() / 7
        low = (self.weight / step).round() * step
        return F.linear(x, self.weight + (low - self.weight).detach(), self.bias)


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(Rounded(64, 96), nn.Hardtanh(), Rounded(96, 96), nn.Hardtanh(), Rounded(96, 10))

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def faulty():
    return Net(), digits(256)
