"""Radial basis functions of width 1 whose centres are drawn at random, on 64 columns that are standardised: every sample is about eleven away from every centre, exp(-130) is 0, and no centre gets a gradient.
Answer: centres from the data, and a width of the order of the distances.
How does the width go -- https://github.com/PetraVidnerova/rbf_for_tf2/issues/2, Use rbf layer on top of other dense or cnn layers -- https://github.com/PetraVidnerova/rbf_keras/issues/6
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM702 IM102 IM604 IM602 IM202 IM303 IM503",
    "remedies": ("INITIALISE", "INPUT", "NORMALISE", "OUTPUT_SCALE", "ACTIVATION"),
    "by": 150,
    "beside": "IM702 IM102 IM604 IM602 IM202 IM303 IM503 IM603",
    "layers": (),
}
MEASURED = (2.304, 0.2687)


def columns():
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x, dtype=torch.float32)
    x = (x - x.mean(0)) / (x.std(0) + 1e-3)
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=64, shuffle=True)


class Radial(nn.Module):
    def __init__(self, centres, width):
        super().__init__()
        self.centres = nn.Parameter(centres)
        self.log_width = nn.Parameter(torch.tensor(float(width)).log().repeat(len(centres)))

    def forward(self, x):
        return torch.exp(-(torch.cdist(x, self.centres) / self.log_width.exp()).square())


class Net(pl.LightningModule):
    def __init__(self, centres, width):
        super().__init__()
        self.radial = Radial(centres, width)
        self.out = nn.Linear(100, 10)

    def training_step(self, batch, _):
        return F.cross_entropy(self.out(self.radial(batch[0])), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-2)


def faulty():
    return Net(torch.randn(100, 64), 1), columns()


def fixed():
    loader = columns()
    return Net(loader.dataset.tensors[0][torch.randperm(1797)[:100]].clone(), 8), loader
