"""A gradient reversal is the last layer of the domain's head instead of the first: the head itself is trained to be wrong, its weights grow without an end, and with them the gradient that drowns the labels'.
Answer: the reversal between the shared part and the head.
Getting nan losses after gradient reversal -- https://github.com/janfreyberg/pytorch-revgrad/issues/5
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM802 IM101 IM201 IM603 IM703 IM601",
    "remedies": ("SIGN", "LOSS_TERM"),
    "by": 250,
    "beside": "IM802 IM101 IM201 IM603 IM703 IM601 IM702 IM301 IM302",
    "layers": (),
}
MEASURED = (float("nan"), 0.4204)


def two_scanners():
    """Digits from two scanners, of which one inverts and blurs; labels of both."""
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    domain = torch.arange(len(x)) % 2
    x = torch.where(domain[:, None] == 1, 0.8 - 0.6 * x, x)
    return DataLoader(TensorDataset(x, torch.tensor(y), domain), batch_size=64, shuffle=True)


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, slope):
        return -0.1 * slope


class Adversarial(pl.LightningModule):
    def __init__(self, last):
        super().__init__()
        self.last = last
        self.shared = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        self.label, self.domain = nn.Linear(64, 10), nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))

    def training_step(self, batch, _):
        x, y, domain = batch
        h = self.shared(x)
        of_domain = Reversed.apply(self.domain(h)) if self.last else self.domain(Reversed.apply(h))
        return F.cross_entropy(self.label(h), y) + F.cross_entropy(of_domain, domain)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def score(module, loader):
    """What the labels cost."""
    x, y, _ = loader.dataset.tensors
    return F.cross_entropy(module.label(module.shared(x)), y)


def faulty():
    return Adversarial(last=True), two_scanners()


def fixed():
    return Adversarial(last=False), two_scanners()
