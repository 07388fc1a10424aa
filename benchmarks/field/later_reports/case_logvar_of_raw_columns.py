"""A VAE for tables gets columns of up to 4000 as they are; the encoder's log-variance is in the hundreds, its exponential infinite, the loss NaN.
Answer there: bound the log-variance; and standardise the columns.
Numerical instability in VAE -- https://github.com/vanderschaarlab/synthcity/issues/331
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM701 IM601 IM802",
    "remedies": ("INPUT", "GUARD"),
    "by": 10,
    "beside": "IM101 IM701 IM703 IM601 IM603 IM201",
    "layers": (),
}
MEASURED = (float("nan"), 6.114)


def table(standardise):
    x = torch.tensor(load_breast_cancer(return_X_y=True)[0], dtype=torch.float32)
    x = (x - x.mean(0)) / x.std(0) if standardise else x
    return DataLoader(TensorDataset(x), batch_size=64, shuffle=True)


class Vae(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 16))
        self.decoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 30))

    def training_step(self, batch, _):
        mean, log_variance = self.encoder(batch[0]).chunk(2, 1)
        code = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        error = (self.decoder(code) - batch[0]).square().sum(1).mean()
        kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
        return error + 0.1 * kl

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def faulty():
    return Vae(), table(False)


def fixed():
    return Vae(), table(True)
