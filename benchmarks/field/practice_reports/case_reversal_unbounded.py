"""Domain-adversarial training: the reversed gradient counts twenty times from the first step on (no ramp, lambda 20), so that the features run away to make the domains' loss large.
Answer: lambda from 0 up to 1.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM802 IM101 IM201 IM603 IM702",
    "remedies": ("LOSS_TERM", "SIGN", "CLIP", "SLOWER"),
    "by": 250,
    "beside": "IM802 IM101 IM201 IM603 IM702 IM301 IM303 IM703",
    "layers": (),
}
MEASURED = (1.98, 0.01918)


class Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return -ctx.strength * grad, None


class Adversarial(pl.LightningModule):
    def __init__(self, strength, width=64):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(512, width), nn.ReLU(),
        )  # fmt: skip
        self.classes = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 10))
        self.domains = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 1))
        self.strength = strength

    def training_step(self, batch, _):
        x, y, target = batch
        h = self.features(torch.cat((x, target)))
        from_target = (torch.arange(len(h)) >= len(x)).float()
        domains = self.domains(Reversal.apply(h, self.strength))[:, 0]
        return F.cross_entropy(self.classes(h[: len(x)]), y) + F.binary_cross_entropy_with_logits(domains, from_target)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def domains():
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    x = (x - x.mean()) / x.std()
    half = len(x) // 2
    return DataLoader(
        TensorDataset(x[:half], torch.tensor(y[:half]), 0.7 * x[half : 2 * half] + 0.3),
        batch_size=64, shuffle=True, drop_last=True,
    )  # fmt: skip


def score(module, loader):
    return sum(float(F.cross_entropy(module.classes(module.features(x)), y)) for x, y, _ in loader) / len(loader)


def faulty():
    return Adversarial(20.0), domains()


def fixed():
    return Adversarial(0.1), domains()
