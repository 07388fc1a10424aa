"""The group of the parameters says "learning_rate": 0.1, which SGD takes without a word and ignores: it runs at its default of 1e-3 without momentum.
Answer: the key is "lr".
"""

from sklearn.datasets import load_digits

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM603 IM604",
    "remedies": ("FASTER", "LEARNING_RATE"),
    "by": 150,
    "beside": "IM603 IM604",
    "layers": (),
}
MEASURED = (2.285, 0.1703)


def digits(flat=True):
    pictures, kinds = load_digits(return_X_y=True)
    x = torch.tensor(pictures, dtype=torch.float32) / 16
    x = (x - x.mean()) / x.std()
    return x if flat else x.view(-1, 1, 8, 8), torch.tensor(kinds)


class Net(pl.LightningModule):
    def __init__(self, key):
        super().__init__()
        self.key = key
        self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def training_step(self, batch, _):
        x, kind = batch
        return F.cross_entropy(self.head(self.body(x)), kind)

    def configure_optimizers(self):
        return torch.optim.SGD(
            [
                {"params": self.body.parameters(), self.key: 0.1},
                {"params": self.head.parameters(), self.key: 0.1},
            ]
        )


def rows():
    return DataLoader(TensorDataset(*digits()), batch_size=64, shuffle=True)


def faulty():
    return Net("learning_rate"), rows()


def fixed():
    return Net("lr"), rows()
