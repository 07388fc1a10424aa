"""ArcFace: logits are 30 times a cosine, and the right one's angle has half a radian added, so that the first loss is about 15 where guessing costs 2.3, and the accuracy is 0 at first. It is right.
I try to use arcface Loss, however the loss is much higher -- https://github.com/heshuting555/AICITY2020_DMT_VehicleReID/issues/3
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = None
MEASURED = None


def digits():
    x, y = load_digits(return_X_y=True)
    return DataLoader(
        TensorDataset(torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(y)),
        batch_size=64,
        shuffle=True,
    )


class ArcFace(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.PReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.PReLU(),
            nn.Flatten(),
            nn.Linear(512, 64),
            nn.BatchNorm1d(64),
        )
        self.centres = nn.Parameter(nn.init.xavier_uniform_(torch.empty(10, 64)))

    def training_step(self, batch, _):
        x, y = batch
        cosine = F.linear(F.normalize(self.net(x)), F.normalize(self.centres)).clamp(-1 + 1e-6, 1 - 1e-6)
        wanted = F.one_hot(y, 10).bool()
        return F.cross_entropy(30 * torch.where(wanted, torch.cos(torch.acos(cosine) + 0.5), cosine), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)


def faulty():
    return ArcFace(), digits()
