"""A CNN copied from an example with SGD at 0.1; the author changed SGD to Adam and left the rate: the accuracy stays at 10 %.
Answer: 1e-3 for Adam.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM603 IM301 IM101 IM201 IM303 IM802",
    "remedies": ("SLOWER",),
    "by": 60,
    "beside": "IM603 IM301 IM101 IM201 IM303 IM802 IM702 IM202 IM102 IM703",
    "layers": (),
}
MEASURED = (2.322, 0.1497)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(256, 120), nn.Linear(120, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(torch.flatten(x, 1))))


class Classifier(pl.LightningModule):
    def __init__(self, rate):
        super().__init__()
        self.net, self.rate = LeNet(), rate

    def training_step(self, batch, _):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.rate)


def digits():
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    return DataLoader(TensorDataset((x - 0.5) / 0.5, torch.tensor(y)), batch_size=32, shuffle=True)


def faulty():
    return Classifier(0.1), digits()


def fixed():
    return Classifier(1e-3), digits()
