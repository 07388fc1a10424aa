"""Digits with a sigmoid behind each of two layers, the squared error to one-hot labels and SGD at 1e-3: every picture gets about 0.1 for every digit.
Answer: a rate that moves something (here 5, for a squared error of sigmoids is a mean over small numbers), or Adam.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM603 IM604",
    "remedies": ("FASTER",),
    "by": 250,
    "beside": "IM603 IM604 IM202",
    "layers": (),
}
MEASURED = (0.2318, 0.05224)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1, self.layer2 = nn.Linear(64, 100), nn.Linear(100, 10)

    def forward(self, x):
        return torch.sigmoid(self.layer2(torch.sigmoid(self.layer1(x))))


class Digits(pl.LightningModule):
    def __init__(self, rate):
        super().__init__()
        self.net, self.rate = Net(), rate

    def training_step(self, batch, _):
        x, y = batch
        return F.mse_loss(self.net(x), F.one_hot(y, 10).float())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.rate)


def digits():
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=32, shuffle=True)


def faulty():
    return Digits(1e-3), digits()


def fixed():
    return Digits(5.0), digits()
