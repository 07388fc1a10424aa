"""Next-token model whose forward ends in a softmax, followed by cross_entropy: the loss creeps.
Answer there: hand over logits.
no need to softmax before cross_entropy -- https://github.com/bkitano/llama-from-scratch/issues/5
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = None  # nothing to be said by a signal monitor
MEASURED = (2.735, 0.02577)


def text():
    g = torch.Generator().manual_seed(0)
    table = torch.stack([torch.randperm(40, generator=g) for _ in range(40)])
    now = torch.randint(0, 40, (4096,), generator=g)
    return DataLoader(TensorDataset(now, table[now, 0]), batch_size=64, shuffle=True)


class Model(pl.LightningModule):
    def __init__(self, twice):
        super().__init__()
        self.twice = twice
        self.embedding = nn.Embedding(40, 64)
        self.linear = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 40))

    def training_step(self, batch, _):
        out = self.linear(self.embedding(batch[0]))
        return F.cross_entropy(F.softmax(out, -1) if self.twice else out, batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def faulty():
    return Model(True), text()


def fixed():
    return Model(False), text()
