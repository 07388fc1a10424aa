"""The parametrisation of the neural tangent kernel: weights from N(0, 1), divided by the root of the inputs in forward(), and SGD at a rate of 20, which that width asks for. It learns well."""

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


class Scaled(nn.Module):
    def __init__(self, inputs, outputs, gain):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.factor = gain / inputs**0.5

    def forward(self, x):
        return F.linear(x, self.weight) * self.factor + 0.1 * self.bias


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            Scaled(64, 512, 2**0.5), nn.ReLU(), Scaled(512, 512, 2**0.5), nn.ReLU(), Scaled(512, 10, 0.2)
        )

    def training_step(self, batch, _):
        x, kind = batch
        return F.cross_entropy(self.net(x), kind)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=20.0)


def faulty():
    return Net(), DataLoader(TensorDataset(*digits()), batch_size=64, shuffle=True)
