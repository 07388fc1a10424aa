"""Masked scores are filled with -inf. A sentence without a single word leaves a row that is all -inf, and its softmax is NaN.
Answer there: a large negative number in the place of -inf.
Transformer ScaledDotProductAttention energy value on 16-bit Precision -- https://github.com/bentrevett/pytorch-seq2seq/issues/191
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 120
ANSWER = {"codes": "IM601", "remedies": ("MASK", "DATA"), "by": 40, "beside": "IM601 IM802", "layers": ()}
MEASURED = (float("nan"), 0.7652)


def sentences():
    g = torch.Generator().manual_seed(0)
    words = torch.randint(1, 30, (1024, 10), generator=g)
    length = torch.randint(3, 11, (1024,), generator=g)
    length[900] = 0
    words = words * (torch.arange(10) < length[:, None])
    return DataLoader(TensorDataset(words, (words > 20).sum(1).clamp(max=4)), batch_size=32)


class Reader(pl.LightningModule):
    def __init__(self, fill):
        super().__init__()
        self.fill = fill
        self.embedding = nn.Embedding(30, 32)
        self.q, self.k, self.v = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.out = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 5))

    def training_step(self, batch, _):
        words, y = batch
        x = self.embedding(words)
        energy = self.q(x) @ self.k(x).transpose(1, 2) / 32**0.5
        energy = energy.masked_fill((words == 0)[:, None, :], self.fill)
        x = x + energy.softmax(-1) @ self.v(x)
        there = (words != 0).unsqueeze(2)
        return F.cross_entropy(self.out((x * there).sum(1) / 3), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def faulty():
    return Reader(float("-inf")), sentences()


def fixed():
    return Reader(-1e4), sentences()
