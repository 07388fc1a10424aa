"""Denoising score matching down to a noise of 0.001: the target is -noise / sigma, up to a thousand, and the factor sigma² of the paper is missing before the squared error, so the smallest noise is all that counts.
Answer: multiply the squared error with sigma squared.
"""

from sklearn.datasets import make_moons

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 1000
ANSWER = {
    "codes": "IM703 IM603 IM802 IM701",
    "remedies": ("TARGET", "LOSS_SCALE", "LOSS_TERM", "OUTPUT_SCALE"),
    "by": 200,
    "beside": "IM703 IM603 IM802 IM701 IM303",
    "layers": (),
}
MEASURED = (6.766, 1.505)


class Score(pl.LightningModule):
    """The slope of the log density of two half moons, at noise from 0.001 to 1."""

    def __init__(self, weighted):
        super().__init__()
        self.weighted = weighted
        self.net = nn.Sequential(nn.Linear(3, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2))

    def slope(self, x, sigma):
        out = self.net(torch.cat([x, sigma.log() / 4], 1))
        return out / sigma if self.weighted else out

    def training_step(self, batch, _):
        (x,) = batch
        sigma = 0.001 ** torch.rand(len(x), 1)
        noise = torch.randn_like(x)
        error = (self.slope(x + sigma * noise, sigma) + noise / sigma).square().sum(1, keepdim=True)
        return (sigma.square() * error if self.weighted else error).mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def score(module, loader):
    """The weighted error at three levels of noise."""
    with torch.no_grad():
        torch.manual_seed(1)
        x = loader.dataset.tensors[0]
        total = 0.0
        for level in (0.1, 0.3, 1.0):
            sigma = torch.full((len(x), 1), level)
            noise = torch.randn_like(x)
            total += float((sigma * module.slope(x + sigma * noise, sigma) + noise).square().sum(1).mean()) / 3
        return total


def moons():
    points, _ = make_moons(2048, noise=0.02, random_state=0)
    x = torch.tensor(points, dtype=torch.float32)
    return DataLoader(TensorDataset((x - x.mean(0)) / x.std(0)), batch_size=256, shuffle=True)


def faulty():
    return Score(False), moons()


def fixed():
    return Score(True), moons()
