"""Pictures and their names are brought together as in CLIP, but the embeddings are not divided by their lengths before the product is divided by 0.07: the logits are hundreds, and the first loss is a hundred times ln of the batch.
Answer: F.normalize both, so that the products are cosines.
"""

from sklearn.datasets import load_digits

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM703",
    "remedies": ("OUTPUT_SCALE", "NORMALISE", "INITIALISE", "LOSS_SCALE"),
    "by": 50,
    "beside": "IM703 IM101 IM502",
    "layers": (),
}
MEASURED = (2.616, 0.6451)


def digits(flat=True):
    pictures, kinds = load_digits(return_X_y=True)
    x = torch.tensor(pictures, dtype=torch.float32) / 16
    x = (x - x.mean()) / x.std()
    return x if flat else x.view(-1, 1, 8, 8), torch.tensor(kinds)


class Pairs(pl.LightningModule):
    """The upper half of a digit is to find its lower half."""

    def __init__(self, unit):
        super().__init__()
        self.unit = unit
        self.upper = nn.Sequential(
            nn.Linear(32, 256), nn.ReLU(), nn.LayerNorm(256), nn.Linear(256, 256), nn.LayerNorm(256)
        )
        self.lower = nn.Sequential(
            nn.Linear(32, 256), nn.ReLU(), nn.LayerNorm(256), nn.Linear(256, 256), nn.LayerNorm(256)
        )

    def training_step(self, batch, _):
        x, _kind = batch
        a, b = self.upper(x[:, :32]), self.lower(x[:, 32:])
        if self.unit:
            a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
        logits = a @ b.T / 0.07
        match = torch.arange(len(x))
        return (F.cross_entropy(logits, match) + F.cross_entropy(logits.T, match)) / 2

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def halves():
    return DataLoader(TensorDataset(*digits()), batch_size=128, shuffle=True, drop_last=True)


def faulty():
    return Pairs(False), halves()


def fixed():
    return Pairs(True), halves()
