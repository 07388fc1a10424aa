"""The logits are cosines, between -1 and 1, and nobody multiplies them by a scale: cross-entropy over ten classes cannot fall below 0.79.
Answer there: choose a scale s.
loss decline, accuracy remains zero -- https://github.com/ronghuaiyang/arcface-pytorch/issues/38
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = None  # nothing to be said by a signal monitor
MEASURED = (1.449, 0.06543)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Cosine(pl.LightningModule):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
        self.classes = nn.Parameter(torch.randn(10, 32))

    def training_step(self, batch, _):
        cosine = F.normalize(self.net(batch[0]), dim=1) @ F.normalize(self.classes, dim=1).t()
        return F.cross_entropy(self.scale * cosine, batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def faulty():
    return Cosine(1.0), digits(64)


def fixed():
    return Cosine(16.0), digits(64)
