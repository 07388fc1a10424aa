"""Spectral norm on every layer of a twelve-layer classifier, taken over from a discriminator, without skips and norms: each layer passes at most what it gets along one direction, and lessens the rest.
Answer: spectral norm off (no other initial weights help: it divides by their size), or skips and norms.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM102 IM702 IM202",
    "remedies": ("NORMALISE", "RESIDUAL"),
    "by": 100,
    "beside": "IM102 IM702 IM202 IM604",
    "layers": (),
}
MEASURED = (1.137, 0.09616)


class Net(pl.LightningModule):
    def __init__(self, normed, width=24, depth=12):
        super().__init__()
        wrap = spectral_norm if normed else (lambda layer: layer)
        layers, inputs = [], 1
        for _ in range(depth):
            layer = nn.Conv2d(inputs, width, 3, padding=1)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
            layers += [wrap(layer), nn.ReLU()]
            inputs = width
        self.body, self.head = nn.Sequential(*layers), wrap(nn.Linear(width, 10))

    def training_step(self, batch, _):
        return F.cross_entropy(self.head(self.body(batch[0]).mean((2, 3))), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def digits():
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    return DataLoader(
        TensorDataset((x - x.mean()) / x.std(), torch.tensor(y)), batch_size=64, shuffle=True, drop_last=True
    )


def faulty():
    return Net(True), digits()


def fixed():
    return Net(False), digits()
