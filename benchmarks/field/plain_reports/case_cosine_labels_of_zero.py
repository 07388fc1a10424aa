"""A Siamese network with CosineEmbeddingLoss whose labels are 1 for a pair of one class and 0 for others, where the loss wants -1: 0 counts nothing, so that everything gets the same vector and the loss is 0.
Answer: labels of 1 and -1.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM702",
    "remedies": ("COLLAPSE", "DATA", "TARGET"),
    "by": 250,
    "beside": "IM702 IM202 IM102 IM301 IM603",
    "layers": (),
}
MEASURED = (2.0, 0.5353)


class Siamese(pl.LightningModule):
    def __init__(self, other):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128, 16),
        )
        self.loss, self.other = nn.CosineEmbeddingLoss(margin=0.2), other

    def training_step(self, batch, _):
        x, y = batch
        order = torch.randperm(len(x) // 2).repeat(2)
        half = torch.arange(len(x)) >= len(x) // 2
        mate = torch.where(half, order, order + len(x) // 2) if len(x) % 2 == 0 else torch.randperm(len(x))
        same = torch.where(y == y[mate], 1, self.other)
        out = self.net(x)
        return self.loss(out, out[mate], same)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def digits():
    """Three digits, so that a third of the pairs are of one."""
    x, y = load_digits(return_X_y=True)
    x, y = x[y < 3], y[y < 3]
    x = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=64, shuffle=True, drop_last=True)


def score(module, loader):
    """The cosine of pairs that are not of one class, above -1."""
    x, y = loader.dataset.tensors
    out = nn.functional.normalize(module.net(x))
    return 1 + float((out @ out.T)[y[:, None] != y].mean())


def faulty():
    return Siamese(0), digits()


def fixed():
    return Siamese(-1), digits()
