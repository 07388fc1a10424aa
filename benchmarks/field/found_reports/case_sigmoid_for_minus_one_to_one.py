"""A convolutional autoencoder whose pictures were brought to -1 to 1, while its decoder ends in a sigmoid: nearly all of a picture is black, -1, which it cannot give.
Answer: tanh, nothing at all, or pictures between 0 and 1.
About the training of the VQ-VAE -- https://github.com/awei669/VQ-Font/issues/7
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM303",
    "remedies": ("OUTPUT_ACTIVATION", "TARGET", "INPUT"),
    "by": 150,
    "beside": "IM303 IM202 IM302 IM702",
    "layers": (),
}
MEASURED = (0.7042, 0.02888)


def pictures():
    x = torch.tensor(load_digits().data / 8 - 1, dtype=torch.float32).view(-1, 1, 8, 8)
    return DataLoader(TensorDataset(x), batch_size=64, shuffle=True)


class Autoencoder(pl.LightningModule):
    def __init__(self, last):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),
            last,
        )

    def training_step(self, batch, _):
        return F.mse_loss(self.net(batch[0]), batch[0])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def faulty():
    return Autoencoder(nn.Sigmoid()), pictures()


def fixed():
    return Autoencoder(nn.Tanh()), pictures()
