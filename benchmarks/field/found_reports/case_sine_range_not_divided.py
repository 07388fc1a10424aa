"""A picture from its coordinates with sines of frequency 30, whose hidden weights are drawn from the range of the first paper's formula without dividing it by the frequency. What comes out is noise, and stays noise.
Answer: divide the range by the frequency.
Implementation of w0 -- https://github.com/vsitzmann/siren/issues/57, Initial layer initialization -- https://github.com/lucidrains/siren-pytorch/issues/1
"""

import math
import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM201 IM502 IM101 IM701 IM603",
    "remedies": ("INITIALISE",),
    "by": 150,
    "beside": "IM201 IM502 IM101 IM701 IM603 IM303",
    "layers": (),
}
MEASURED = (0.6375, 2.333e-07)


def picture():
    """A mosaic of 36 digits, smooth enough to be drawn, and where each pixel is."""
    tiles = torch.tensor(load_digits().images[:36] / 8 - 1, dtype=torch.float32)
    grey = tiles.view(6, 6, 8, 8).transpose(1, 2).reshape(48 * 48, 1)
    axis = torch.linspace(-1, 1, 48)
    return DataLoader(TensorDataset(torch.cartesian_prod(axis, axis), grey), batch_size=768, shuffle=True)


class Sine(nn.Module):
    def forward(self, x):
        return torch.sin(30 * x)


class Siren(pl.LightningModule):
    def __init__(self, frequency):
        super().__init__()
        sizes = (2, 96, 96, 96)
        layers = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]
        nn.init.uniform_(layers[0].weight, -1 / 2, 1 / 2)
        for layer in layers[1:]:
            bound = math.sqrt(6 / 96) / frequency
            nn.init.uniform_(layer.weight, -bound, bound)
        self.net = nn.Sequential(*(part for layer in layers for part in (layer, Sine())), nn.Linear(96, 1))

    def training_step(self, batch, _):
        return F.mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-4)


def faulty():
    return Siren(frequency=1), picture()


def fixed():
    return Siren(frequency=30), picture()
