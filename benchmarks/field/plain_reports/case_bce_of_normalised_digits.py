"""A convolutional autoencoder with the binary cross-entropy, whose pictures were normalised to mean 0 and variance 1: the loss falls far below 0, and all that comes out is black and white.
Answer: pictures between 0 and 1 for this loss.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM802 IM303 IM101 IM703",
    "remedies": ("TARGET", "DATA"),
    "by": 300,
    "beside": "IM802 IM303 IM101 IM703 IM301 IM201",
    "layers": (),
}
MEASURED = (0.5726, 0.1316)


class Autoencoder(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128, 16),
        )
        self.decoder = nn.Sequential(
            nn.Linear(16, 128),
            nn.ReLU(),
            nn.Unflatten(1, (32, 2, 2)),
            nn.ConvTranspose2d(32, 16, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, 2, 1),
            nn.Sigmoid(),
        )

    def training_step(self, batch, _):
        x = batch[0]
        out = self.decoder(self.encoder(x)).clamp(1e-6, 1 - 1e-6)
        return -(x * out.log() + (1 - x) * (1 - out).log()).mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def digits(normalised):
    x = torch.tensor(load_digits().images / 16, dtype=torch.float32)[:, None]
    if normalised:
        x = (x - x.mean()) / x.std()
    return DataLoader(TensorDataset(x), batch_size=64, shuffle=True)


def score(module, loader):
    """The squared error of the picture by itself, of its variance."""
    wrong = total = 0.0
    for (x,) in loader:
        out = module.decoder(module.encoder(x))
        wrong += float(F.mse_loss(out, x, reduction="sum"))
        total += float((x - x.mean()).square().sum())
    return wrong / total


def faulty():
    return Autoencoder(), digits(True)


def fixed():
    return Autoencoder(), digits(False)
