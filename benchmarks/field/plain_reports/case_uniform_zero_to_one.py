"""A network for a table where every weight is drawn by nn.init.uniform_(weight), which draws from 0 to 1: the loss is in the tens of thousands at the start and the accuracy that of guessing.
Answer: nn.init.kaiming_uniform_, or leave the weights as they were.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM101 IM502 IM703 IM201",
    "remedies": ("INITIALISE",),
    "by": 20,
    "beside": "IM101 IM502 IM703 IM201 IM302 IM301 IM303 IM701 IM603",
    "layers": (),
}
MEASURED = (19650.0, 0.03938)


def uniform(module):
    if isinstance(module, nn.Linear):
        nn.init.uniform_(module.weight)
        nn.init.zeros_(module.bias)


class Table(pl.LightningModule):
    def __init__(self, drawn):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
        )
        if drawn:
            self.layers.apply(uniform)

    def training_step(self, batch, _):
        x, y = batch
        return F.binary_cross_entropy_with_logits(self.layers(x)[:, 0], y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def table():
    x, y = load_breast_cancer(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    return DataLoader(TensorDataset(x, torch.tensor(y, dtype=torch.float32)), batch_size=32, shuffle=True)


def faulty():
    return Table(True), table()


def fixed():
    return Table(False), table()
