"""The logarithm of cosh, written as it stands, for a score from 25 to 346: cosh is infinite from 90 on, and the loss is infinite at the first step and NaN ever after.
Answer: x + softplus(-2x) - ln 2, and scale the target.
"""

from sklearn.datasets import load_diabetes

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM601",
    "remedies": ("GUARD", "TARGET"),
    "by": 5,
    "beside": "IM601 IM604 IM703",
    "layers": (),
}
MEASURED = (float("nan"), 0.1798)


LN2 = 0.6931471805599453


class Net(pl.LightningModule):
    def __init__(self, stable):
        super().__init__()
        self.stable = stable
        self.net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))

    def training_step(self, batch, _):
        x, y = batch
        if self.stable:
            error = (self.net(x) - (y - 152) / 77).abs()
            return (error + F.softplus(-2 * error) - LN2).mean()
        return torch.log(torch.cosh(self.net(x) - y)).mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def patients():
    x, y = load_diabetes(return_X_y=True)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]
    return DataLoader(TensorDataset((x - x.mean(0)) / x.std(0), y), batch_size=64, shuffle=True)


def faulty():
    return Net(False), patients()


def fixed():
    return Net(True), patients()
