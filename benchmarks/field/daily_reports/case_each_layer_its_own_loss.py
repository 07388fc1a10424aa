"""Every layer is trained on a loss of its own, and what it hands to the next is detached, as in greedy learning layer by layer: the gradient of the last loss reaches only the last layer, which is the point of it."""

from sklearn.datasets import load_digits

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = None


def digits(flat=True):
    pictures, kinds = load_digits(return_X_y=True)
    x = torch.tensor(pictures, dtype=torch.float32) / 16
    x = (x - x.mean()) / x.std()
    return x if flat else x.view(-1, 1, 8, 8), torch.tensor(kinds)


class Local(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, 96), nn.Linear(96, 96), nn.Linear(96, 96), nn.Linear(96, 96)])
        self.heads = nn.ModuleList([nn.Linear(96, 10) for _ in range(4)])

    def training_step(self, batch, _):
        x, kind = batch
        loss = 0.0
        for layer, head in zip(self.layers, self.heads):
            x = F.relu(layer(x.detach()))
            loss = loss + F.cross_entropy(head(x), kind)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def faulty():
    return Local(), DataLoader(TensorDataset(*digits()), batch_size=64, shuffle=True)
