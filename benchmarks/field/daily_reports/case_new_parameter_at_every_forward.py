"""An autoregressive network masks its weights with self.weight = nn.Parameter(self.weight * self.mask) in forward(): from the first forward pass on the optimizer holds parameters that nothing uses.
Answer: F.linear(x, self.weight * self.mask, self.bias).
"""

from sklearn.datasets import load_digits

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM602 IM604",
    "remedies": ("OPTIMIZER", "CONNECT", "UNDONE"),
    "by": 100,
    "beside": "IM602 IM604 IM603",
    "layers": (),
}
MEASURED = (0.5461, 0.3321)


def digits():
    pictures, _ = load_digits(return_X_y=True)
    x = torch.tensor(pictures, dtype=torch.float32) / 16
    return (x > 0.4).float()


class Masked(nn.Linear):
    def __init__(self, inputs, outputs, mask, anew):
        super().__init__(inputs, outputs)
        self.register_buffer("mask", mask)
        self.anew = anew

    def forward(self, x):
        if self.anew:
            self.weight = nn.Parameter(self.weight * self.mask)
            return F.linear(x, self.weight, self.bias)
        return F.linear(x, self.weight * self.mask, self.bias)


class Made(pl.LightningModule):
    """Each pixel given those before it."""

    def __init__(self, anew):
        super().__init__()
        order, hidden = torch.arange(64), torch.arange(256) % 63
        self.net = nn.Sequential(
            Masked(64, 256, (hidden[:, None] >= order).float(), anew),
            nn.ReLU(),
            Masked(256, 256, (hidden[:, None] >= hidden).float(), anew),
            nn.ReLU(),
            Masked(256, 64, (order[:, None] > hidden).float(), anew),
        )

    def training_step(self, batch, _):
        (x,) = batch
        return F.binary_cross_entropy_with_logits(self.net(x), x)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def pictures():
    return DataLoader(TensorDataset(digits()), batch_size=64, shuffle=True)


def faulty():
    return Made(True), pictures()


def fixed():
    return Made(False), pictures()
