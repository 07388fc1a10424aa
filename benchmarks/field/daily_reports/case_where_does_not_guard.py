"""torch.where(x > 0, x ** 0.4, 0) is to spare the root its zeros: the values are fine, but the gradient that was not chosen is 0 times infinity, and the gains are NaN after the first step, and with them all there is.
Answer: make the argument safe inside of the root, too: x.clamp(min=1e-6) ** 0.4.
"""

from sklearn.datasets import load_digits

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 120
ANSWER = {
    "codes": "IM601",
    "remedies": ("GUARD",),
    "by": 5,
    "beside": "IM601 IM604",
    "layers": (),
}
MEASURED = (2.305, 0.333)


def digits():
    pictures, kinds = load_digits(return_X_y=True)
    return torch.tensor(pictures / 16, dtype=torch.float32), torch.tensor(kinds)


class Net(pl.LightningModule):
    """Learns a gain for each pixel before its greys are spread by a root, as for the energies of a sound."""

    def __init__(self, safe):
        super().__init__()
        self.safe = safe
        self.gain = nn.Parameter(torch.zeros(64))
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch, _):
        x, kind = batch
        x = x * self.gain.exp()
        inner = x.clamp(min=1e-6) if self.safe else x
        x = torch.where(x > 0, inner**0.4, torch.zeros_like(x))
        return F.cross_entropy(self.net(x), kind)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def pictures():
    return DataLoader(TensorDataset(*digits()), batch_size=64, shuffle=True)


def faulty():
    return Net(False), pictures()


def fixed():
    return Net(True), pictures()
