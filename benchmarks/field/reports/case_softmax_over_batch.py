"""Attention whose softmax runs over the wrong dimension (the samples of the batch in the place of the keys).
Answer there: dim=-1.
softmax along wrong dimension in the jupyter notebook -- https://github.com/nerminnuraydogan/vision-transformer/issues/1
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = None  # nothing to be said by a signal monitor
MEASURED = (0.5178, 0.09617)


def sets():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2048, 12, 8, generator=g)
    best = x[:, :, 0].argmax(1)
    return DataLoader(TensorDataset(x, (x[torch.arange(2048), best, 1] > 0).long()), batch_size=64, shuffle=True)


class Attend(pl.LightningModule):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim
        self.embed = nn.Linear(8, 32)
        self.scores = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
        self.out = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))

    def training_step(self, batch, _):
        x = self.embed(batch[0])
        weight = self.scores(x).squeeze(2).softmax(self.dim)
        return F.cross_entropy(self.out((weight.unsqueeze(2) * x).sum(1)), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def faulty():
    return Attend(0), sets()


def fixed():
    return Attend(1), sets()
