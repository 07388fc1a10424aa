"""Texts as counts of 4000 hashed words, of which about twelve are not 0: a linear layer of 4000 columns gets nearly nothing but zeros. That is its input."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = None  # nothing to be said by a signal monitor


def texts():
    g = torch.Generator().manual_seed(0)
    y = torch.randint(0, 6, (2048,), generator=g)
    topics = 3 * torch.randn(6, 4000, generator=g)
    rare = -torch.log(torch.arange(1, 4001).float())
    words = torch.multinomial(torch.softmax(topics + rare, 1)[y], 12, replacement=True, generator=g)
    return DataLoader(
        TensorDataset(torch.zeros(2048, 4000).scatter_add(1, words, torch.ones(2048, 12)), y),
        batch_size=64,
        shuffle=True,
    )


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4000, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 6))

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adagrad(self.parameters(), lr=0.02)


def faulty():
    return Net(), texts()
