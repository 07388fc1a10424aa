"""CLIP: the logit scale is kept as 1/0.07 and exponentiated in the forward (it should have been kept as its logarithm), so similarities are multiplied by 1.6 million.
Answer: keep log(1/0.07).
"""

import math

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM703 IM304 IM303 IM201 IM802",
    "remedies": ("OUTPUT_SCALE", "LOSS_SCALE", "COLLAPSE"),
    "by": 100,
    "beside": "IM703 IM304 IM303 IM201 IM603",
    "layers": (),
}
MEASURED = (0.9621, 0.5173)


def halves():
    """The upper and the lower half of a picture belong together."""
    x, _ = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    x = (x - x.mean()) / x.std()
    return DataLoader(TensorDataset(x[:, :, :4], x[:, :, 4:]), batch_size=64, shuffle=True, drop_last=True)


class Tower(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.cut = nn.Conv2d(1, width, 2, 2)
        self.place = nn.Parameter(0.02 * torch.randn(8, width))
        layer = nn.TransformerEncoderLayer(width, 4, 128, dropout=0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.project = nn.Linear(width, 32, bias=False)

    def forward(self, x):
        return F.normalize(self.project(self.body(self.cut(x).flatten(2).mT + self.place).mean(1)), dim=-1)


class Clip(pl.LightningModule):
    def __init__(self, start):
        super().__init__()
        self.one, self.other = Tower(), Tower()
        self.logit_scale = nn.Parameter(torch.tensor(start))

    def training_step(self, batch, _):
        logits = self.logit_scale.exp() * self.one(batch[0]) @ self.other(batch[1]).mT
        pairs = torch.arange(len(logits))
        return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.mT, pairs)) / 2

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3, weight_decay=0.1)


def score(module, loader):
    wrong = [(module.one(a) @ module.other(b).mT).argmax(1) != torch.arange(len(a)) for a, b in loader]
    return float(torch.cat(wrong).float().mean())


def faulty():
    return Clip(1 / 0.07), halves()


def fixed():
    return Clip(math.log(1 / 0.07)), halves()
