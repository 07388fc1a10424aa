"""Adapters in a frozen network: their last layer starts at 0, so that at first nothing changes, but x + is forgotten: at first nothing comes through.
Answer: x + adapter(x).
Houlsby-style adapters with zero weights and no skip: asked of on forums about parameter-efficient tuning.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM102 IM503 IM602 IM604 IM202 IM702 IM501",
    "remedies": ("RESIDUAL", "INITIALISE", "CONNECT"),
    "by": 30,
    "beside": "IM102 IM503 IM602 IM604 IM202 IM702 IM501 IM301 IM302",
    "layers": (),
}
MEASURED = (1.87, 0.6844)


def pictures():
    x, y = load_digits(return_X_y=True)
    return DataLoader(
        TensorDataset(torch.tensor(x / 8 - 0.6, dtype=torch.float32), torch.tensor(y)), batch_size=64, shuffle=True
    )


class Adapter(nn.Module):
    def __init__(self, width, skip):
        super().__init__()
        self.skip = skip
        self.down, self.up = nn.Linear(width, 8), nn.Linear(8, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x):
        change = self.up(F.gelu(self.down(x)))
        return x + change if self.skip else change


class Tuned(pl.LightningModule):
    def __init__(self, skip):
        super().__init__()
        layers = []
        for i in range(4):
            linear = nn.Linear(64, 64)
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            layers += [linear.requires_grad_(False), nn.ReLU(), Adapter(64, skip)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(64, 10)

    def training_step(self, batch, _):
        return F.cross_entropy(self.head(self.body(batch[0])), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=1e-3)


def faulty():
    return Tuned(False), pictures()


def fixed():
    return Tuned(True), pictures()
