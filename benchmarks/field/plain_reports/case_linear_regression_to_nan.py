"""A linear regression of prices on the area in square feet by SGD at 0.01, as in a tutorial: the loss is inf after some ten steps and NaN thereafter.
Answer: standardise the area and the price.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM701 IM603 IM802 IM101 IM201",
    "remedies": ("INPUT", "SLOWER"),
    "by": 60,
    "beside": "IM701 IM603 IM802 IM101 IM201 IM601 IM703 IM604",
    "layers": (),
}
MEASURED = (float("nan"), 0.08331)


def houses(standardised):
    generator = torch.Generator().manual_seed(0)
    area = 800 + 3000 * torch.rand(512, 1, generator=generator)
    price = 50 + 0.12 * area + 30 * torch.randn(512, 1, generator=generator)
    if standardised:
        area, price = (area - area.mean()) / area.std(), (price - price.mean()) / price.std()
    return DataLoader(TensorDataset(area, price), batch_size=32, shuffle=True)


class Regression(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def training_step(self, batch, _):
        x, y = batch
        return F.mse_loss(self.linear(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def faulty():
    return Regression(), houses(False)


def fixed():
    return Regression(), houses(True)
