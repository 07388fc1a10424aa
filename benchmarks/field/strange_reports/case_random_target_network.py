"""Random network distillation: a network that is never trained gives the target, a second one learns to foretell it; the error is a bonus for what is new. Half of the
parameters are frozen on purpose, nothing is asked of the data, and the loss falls to a thousandth. It is right.
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


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Curiosity(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.target = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.LeakyReLU(), nn.Flatten(), nn.Linear(256, 32)
        ).requires_grad_(False)
        self.predictor = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.LeakyReLU(), nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 32)
        )

    def training_step(self, batch, _):
        with torch.no_grad():
            target = self.target(batch[0])
        return F.mse_loss(self.predictor(batch[0]), target)

    def configure_optimizers(self):
        return torch.optim.Adam(self.predictor.parameters(), lr=1e-3)


def faulty():
    return Curiosity(), digits(32, images=True)
