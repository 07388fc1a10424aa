"""Batch-hard triplet loss: after a few steps the loss is exactly the margin and stays there, all embeddings are one point.
Answer there: a smaller learning rate, easier triplets.
Embeddings Collapse very fast -- https://github.com/omoindrot/tensorflow-triplet-loss/issues/50
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM702",
    "remedies": ("COLLAPSE", "SLOWER"),
    "by": 200,
    "beside": "IM603 IM102 IM202 IM301",
    "layers": (),
}
MEASURED = (0.5, 0.2963)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


MARGIN = 0.5


def batch_hard(z, y):
    distance = (z[:, None] - z[None]).square().sum(2)
    same = y[:, None] == y[None]
    hardest_same = (distance * same).max(1).values
    hardest_other = distance.masked_fill(same, float("inf")).min(1).values
    return F.relu(hardest_same - hardest_other + MARGIN).mean()


class Embed(pl.LightningModule):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate
        self.net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 16))

    def training_step(self, batch, _):
        return batch_hard(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.rate)


def faulty():
    return Embed(0.03), digits(64)


def fixed():
    return Embed(1e-3), digits(64)
