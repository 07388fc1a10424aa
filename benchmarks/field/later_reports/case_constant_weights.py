"""All weights start at 0.05, because random ones made runs differ: the units of a layer stay copies of one another.
Answer: random initial weights, with a seed.
Highly improper way of weight initialization -- https://github.com/wagonhelm/NaNmnist/issues/2
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM501",
    "remedies": ("INITIALISE",),
    "by": 10,
    "beside": "IM102 IM202 IM702 IM502 IM604 IM602",
    "layers": (),
}
MEASURED = (1.714, 0.08069)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Net(pl.LightningModule):
    def __init__(self, constant):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
        if constant:
            for parameter in self.parameters():
                nn.init.constant_(parameter, 0.05)

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def faulty():
    return Net(True), digits(128)


def fixed():
    return Net(False), digits(128)
