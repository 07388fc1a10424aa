"""Gradient scaling by hand: the loss times 2 to the power of 24, in float16 where autocast says so; a step whose gradient is not finite is left
out, as a scaler does, but nobody lowers the factor: every gradient is infinite and no step is ever taken.
Answer: a smaller factor, lowered after each overflow.
The optimizer's step is silently skipped while the gradient is infinite -- https://github.com/pytorch/pytorch/issues/67590
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 120
ANSWER = {
    "codes": "IM601 IM604",
    "remedies": ("LOSS_SCALE", "DTYPE", "OPTIMIZER"),
    "by": 20,
    "beside": "IM601 IM604 IM603",
    "layers": (),
}
MEASURED = (2.311, 0.1981)


def pictures():
    x, y = load_digits(return_X_y=True)
    return DataLoader(
        TensorDataset(torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)), batch_size=64, shuffle=True
    )


class Scaled(pl.LightningModule):
    def __init__(self, lowered):
        super().__init__()
        self.automatic_optimization = False
        self.lowered, self.factor = lowered, 2.0**24
        self.net = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 10))

    def training_step(self, batch, _):
        optimizer = self.optimizers()
        with torch.autocast("cpu", dtype=torch.float16):
            out = self.net(batch[0])
        loss = F.cross_entropy(out.float(), batch[1])
        optimizer.zero_grad()
        self.manual_backward(loss * self.factor)
        for p in self.parameters():
            p.grad /= self.factor
        if all(p.grad.isfinite().all() for p in self.parameters()):
            optimizer.step()
        elif self.lowered:
            self.factor /= 4
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def score(module, loader):
    x, y = loader.dataset.tensors
    return F.cross_entropy(module.net(x), y)


OPTIONS = {"max_steps": -1, "max_epochs": 5}


def faulty():
    return Scaled(False), pictures(), OPTIONS


def fixed():
    return Scaled(True), pictures(), OPTIONS
