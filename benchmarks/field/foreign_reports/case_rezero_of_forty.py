"""ReZero: forty blocks, each times a number that starts at 0, so that the network starts as the identity. As in Bachlechner et al. 2020."""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 120
ANSWER = None  # nothing to be said by a signal monitor


def digits():
    x, y = load_digits(return_X_y=True)
    return DataLoader(
        TensorDataset(torch.tensor(x / 8 - 0.6, dtype=torch.float32), torch.tensor(y)), batch_size=256, shuffle=True
    )


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 64)
        nn.init.kaiming_normal_(self.linear.weight, nonlinearity="relu")
        nn.init.zeros_(self.linear.bias)
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x + self.share * F.relu(self.linear(x))


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(*(Block() for _ in range(40)))
        self.head = nn.Linear(64, 10)

    def training_step(self, batch, _):
        return F.cross_entropy(self.head(self.blocks(batch[0])), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adagrad(self.parameters(), lr=0.01)


def faulty():
    return Net(), digits()
