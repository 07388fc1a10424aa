"""The state of a hand-made GRU loop is detached at every time step, where at every batch was meant: what happened long ago is never learned to be kept,
but every layer gets its gradient and the signal is as it should be.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = None  # nothing to be said by a signal monitor


def recall():
    """The first of twelve symbols is asked for at the end."""
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 6, (2048, 12), generator=g)
    return DataLoader(TensorDataset(x, x[:, 0]), batch_size=64, shuffle=True)


class Recaller(pl.LightningModule):
    def __init__(self, detached):
        super().__init__()
        self.detached = detached
        self.symbols, self.cell, self.head = nn.Embedding(6, 24), nn.GRUCell(24, 48), nn.Linear(48, 6)

    def training_step(self, batch, _):
        h = torch.zeros(len(batch[0]), 48)
        for x in self.symbols(batch[0]).unbind(1):
            h = self.cell(x, h.detach() if self.detached else h)
        return F.cross_entropy(self.head(h), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def faulty():
    return Recaller(True), recall()


def fixed():
    return Recaller(False), recall()
