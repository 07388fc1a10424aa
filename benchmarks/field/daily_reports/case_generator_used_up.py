"""The backbone's parameters are a filter(...), which was run through once to count them: the group of the optimizer that gets it afterwards is empty, and the backbone stays as drawn.
Answer: make a list of it.
"""

from sklearn.datasets import load_digits

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM602 IM604",
    "remedies": ("OPTIMIZER",),
    "by": 100,
    "beside": "IM602 IM604",
    "layers": (),
}
MEASURED = (2.279, 1.137)


def digits(flat=True):
    pictures, kinds = load_digits(return_X_y=True)
    x = torch.tensor(pictures, dtype=torch.float32) / 16
    x = (x - x.mean()) / x.std()
    return x if flat else x.view(-1, 1, 8, 8), torch.tensor(kinds)


class Net(pl.LightningModule):
    def __init__(self, listed):
        super().__init__()
        self.listed = listed
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(16, 10)

    def training_step(self, batch, _):
        x, kind = batch
        return F.cross_entropy(self.head(self.backbone(x)), kind)

    def configure_optimizers(self):
        learned = filter(lambda p: p.requires_grad, self.backbone.parameters())
        if self.listed:
            learned = list(learned)
        self.count = sum(p.numel() for p in learned)
        return torch.optim.Adam([{"params": learned, "lr": 3e-3}, {"params": self.head.parameters()}], lr=3e-3)


def pictures():
    return DataLoader(TensorDataset(*digits(flat=False)), batch_size=64, shuffle=True)


def faulty():
    return Net(False), pictures()


def fixed():
    return Net(True), pictures()
