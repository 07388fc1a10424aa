"""One network is applied 40 times as the steps of an equation, x + f(x), and the step size is forgotten: x grows from step to step.
Answer: x + f(x) / 40.
Euler steps without their size: asked of on forums about residual networks as differential equations.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 120
ANSWER = {
    "codes": "IM401 IM101 IM201 IM703 IM601 IM603 IM802",
    "remedies": ("RESIDUAL", "NORMALISE", "INITIALISE"),
    "by": 20,
    "beside": "IM401 IM101 IM201 IM703 IM601 IM603 IM802",
    "layers": (),
}
MEASURED = (1.256e08, 0.2763)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Flow(pl.LightningModule):
    def __init__(self, dt):
        super().__init__()
        self.dt = dt
        self.field = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
        nn.init.kaiming_normal_(self.field[0].weight, nonlinearity="relu")
        nn.init.kaiming_normal_(self.field[2].weight)
        self.head = nn.Linear(64, 10)

    def training_step(self, batch, _):
        x = batch[0]
        for _step in range(40):
            x = x + self.dt * self.field(x)
        return F.cross_entropy(self.head(x), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def faulty():
    return Flow(1.0), digits(64)


def fixed():
    return Flow(1 / 40), digits(64)
