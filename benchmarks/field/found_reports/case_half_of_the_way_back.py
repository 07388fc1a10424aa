"""Lookahead: after every sixth step of the inner optimizer the weights go half of the way back to where they were six steps ago. It is right.
Lookahead Questions -- https://github.com/michaelrzhang/lookahead/issues/4
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = None
MEASURED = None


def digits():
    x, y = load_digits(return_X_y=True)
    return DataLoader(
        TensorDataset(torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(y)),
        batch_size=128,
        shuffle=True,
    )


class Lookahead(torch.optim.AdamW):
    def step(self, closure=None):
        if not hasattr(self, "slow"):
            self.count, self.slow = 0, [[p.detach().clone() for p in g["params"]] for g in self.param_groups]
        loss = super().step(closure)
        self.count += 1
        if self.count % 6 == 0:
            with torch.no_grad():
                for group, held in zip(self.param_groups, self.slow):
                    for p, slow in zip(group["params"], held):
                        p.copy_(slow.lerp_(p, 0.5))
        return loss


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
        )

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return Lookahead(self.parameters(), lr=2e-3)


def faulty():
    return Net(), digits()
