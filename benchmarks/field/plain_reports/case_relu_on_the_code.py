"""An autoencoder with two numbers as its code and a ReLU on everything, the code as well, at 1e-2: both numbers are soon 0, and every picture comes out as the mean of all.
Answer: no activation on the code.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 1, 300
ANSWER = {
    "codes": "IM301 IM503 IM702 IM602",
    "remedies": ("OUTPUT_ACTIVATION", "ACTIVATION", "SLOWER"),
    "by": 150,
    "beside": "IM301 IM503 IM702 IM602 IM604 IM202 IM603",
    "layers": (),
}
MEASURED = (0.07416, 0.04511)


class Autoencoder(pl.LightningModule):
    def __init__(self, on_code):
        super().__init__()
        code = nn.ReLU() if on_code else nn.Identity()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2), code)
        self.decoder = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64))

    def training_step(self, batch, _):
        x = batch[0]
        return F.mse_loss(self.decoder(self.encoder(x)), x)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def digits():
    x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    return DataLoader(TensorDataset(x), batch_size=64, shuffle=True)


def faulty():
    return Autoencoder(True), digits()


def fixed():
    return Autoencoder(False), digits()
