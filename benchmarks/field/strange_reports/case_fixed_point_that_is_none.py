"""A deep equilibrium layer: z = relu(W z + U x + b), 25 times. W is drawn so that each pass enlarges z 1.7-fold, so that there is no fixed point to come to.
Reported of such layers: the solver's residual grows and the loss explodes in the first steps. Answer: start W small enough that the map contracts.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM101 IM201 IM601 IM603 IM703 IM802",
    "remedies": (
        "INITIALISE",
        "OUTPUT_SCALE",
        "SLOWER",
        "NORMALISE",
    ),
    "by": 10,
    "beside": "IM101 IM201 IM601 IM603 IM703 IM802 IM401 IM502",
    "layers": (),
}
MEASURED = (float("nan"), 0.6504)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Equilibrium(pl.LightningModule):
    def __init__(self, gain):
        super().__init__()
        self.inject, self.again, self.head = nn.Linear(64, 80), nn.Linear(80, 80), nn.Linear(80, 10)
        nn.init.normal_(self.again.weight, std=gain * (2 / 80) ** 0.5)

    def training_step(self, batch, _):
        u, z = self.inject(batch[0]), 0
        z = torch.zeros_like(u)
        for _time in range(25):
            z = F.relu(self.again(z) + u)
        return F.cross_entropy(self.head(z), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=5e-2)


def faulty():
    return Equilibrium(1.7), digits(32)


def fixed():
    return Equilibrium(0.5), digits(32)
