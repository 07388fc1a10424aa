"""training_step() computes the loss, logs it and returns nothing: Lightning skips every batch, with a warning that is easily missed.
Answer: return the loss.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM602 IM604",
    "remedies": ("CONNECT", "OPTIMIZER"),
    "by": 20,
    "beside": "IM602 IM604",
    "layers": (),
}
MEASURED = (1.412, 0.09588)


class Table(pl.LightningModule):
    def __init__(self, returns):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
        self.returns = returns

    def training_step(self, batch, _):
        x, y = batch
        loss = F.mse_loss(self.net(x)[:, 0], y)
        self.log("train_loss", loss)
        return loss if self.returns else None

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def rows():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2048, 8, generator=generator)
    return DataLoader(TensorDataset(x, x[:, 0] * x[:, 1] + x[:, 2].sin()), batch_size=64, shuffle=True)


def score(module, loader):
    x, y = loader.dataset.tensors
    return float(F.mse_loss(module.net(x)[:, 0], y))


def faulty():
    return Table(False), rows(), {"max_epochs": 8}


def fixed():
    return Table(True), rows(), {"max_epochs": 8}
