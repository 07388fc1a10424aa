"""Counts by PoissonNLLLoss(log_input=False) on a linear output: as soon as one is negative, its logarithm is NaN.
Answer: log_input=True, the output is the logarithm of the rate.
The documentation of torch.nn.PoissonNLLLoss says what log_input is for; asked of on the forum.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM601 IM802",
    "remedies": ("GUARD", "OUTPUT_ACTIVATION", "ACTIVATION"),
    "by": 20,
    "beside": "IM601 IM802",
    "layers": (),
}
MEASURED = (float("nan"), -0.4035)


def counts():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2048, 10, generator=g)
    rate = (x[:, 0] + 0.5 * x[:, 1]).exp()
    return DataLoader(TensorDataset(x, torch.poisson(rate, generator=g)), batch_size=64, shuffle=True)


class Counts(pl.LightningModule):
    def __init__(self, log_input):
        super().__init__()
        self.criterion = nn.PoissonNLLLoss(log_input=log_input)
        self.net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))

    def training_step(self, batch, _):
        return self.criterion(self.net(batch[0])[:, 0], batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def faulty():
    return Counts(False), counts()


def fixed():
    return Counts(True), counts()
