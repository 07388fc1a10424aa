"""A layer written for another framework keeps its weight as (height, width, in, out) and draws it with kaiming_normal_, which takes the second axis and all behind it for the inputs: the fan is out times too large, and the signal fades.
Answer: draw with the deviation sqrt(2 / (height · width · in)).
"""

from sklearn.datasets import load_digits

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM102 IM502 IM202",
    "remedies": ("INITIALISE",),
    "by": 50,
    "beside": "IM102 IM502 IM202 IM702 IM703",
    "layers": (),
}
MEASURED = (2.301, 0.1785)


def digits(flat=True):
    pictures, kinds = load_digits(return_X_y=True)
    x = torch.tensor(pictures, dtype=torch.float32) / 16
    x = (x - x.mean()) / x.std()
    return x if flat else x.view(-1, 1, 8, 8), torch.tensor(kinds)


class Conv(nn.Module):
    """A convolution with its weight in the order of TensorFlow."""

    def __init__(self, inputs, outputs, right):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3, 3, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        if right:
            nn.init.normal_(self.weight, std=(2 / (9 * inputs)) ** 0.5)
        else:
            nn.init.kaiming_normal_(self.weight)

    def forward(self, x):
        return F.conv2d(x, self.weight.permute(3, 2, 0, 1), self.bias, padding=1)


class Net(pl.LightningModule):
    def __init__(self, right):
        super().__init__()
        layers = [Conv(1, 16, right), nn.ReLU()]
        for _ in range(5):
            layers += [Conv(16, 16, right), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10))

    def training_step(self, batch, _):
        x, kind = batch
        return F.cross_entropy(self.net(x), kind)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.9)


def pictures():
    return DataLoader(TensorDataset(*digits(flat=False)), batch_size=64, shuffle=True)


def faulty():
    return Net(False), pictures()


def fixed():
    return Net(True), pictures()
