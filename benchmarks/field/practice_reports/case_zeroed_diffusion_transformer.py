"""Nothing is wrong: a diffusion Transformer (DiT) whose modulations and whose last layer start at zero, so that each block is the identity and the output is 0 at the start."""

import math

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = None


def pictures():
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 8 - 1, dtype=torch.float32).view(-1, 1, 8, 8)
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=64, shuffle=True, drop_last=True)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU("tanh"), nn.Linear(3 * width, width))
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        nn.init.zeros_(self.modulation[1].weight)
        nn.init.zeros_(self.modulation[1].bias)

    def forward(self, x, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c)[:, None].chunk(6, -1)
        h = self.norm1(x) * (1 + scale1) + shift1
        x = x + gate1 * self.attention(h, h, h, need_weights=False)[0]
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class DiT(pl.LightningModule):
    def __init__(self, width=48):
        super().__init__()
        self.cut, self.place = nn.Conv2d(1, width, 2, 2), nn.Parameter(0.02 * torch.randn(16, width))
        self.time = nn.Sequential(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(11, width)
        nn.init.normal_(self.label.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(width) for _ in range(4))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.last = nn.Linear(width, 4)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x, t, y):
        angles = t[:, None] * 100 * torch.exp(-math.log(1000) * torch.arange(16) / 16)
        c = self.time(torch.cat((angles.sin(), angles.cos()), 1)) + self.label(y)
        x = self.cut(x).flatten(2).mT + self.place
        for block in self.blocks:
            x = block(x, c)
        return F.fold(self.last(self.norm(x)).mT, 8, 2, stride=2)

    def training_step(self, batch, _):
        x, y = batch
        t = torch.sigmoid(torch.randn(len(x)))
        noise = torch.randn_like(x)
        share = t[:, None, None, None]
        y = torch.where(torch.rand(len(y)) < 0.1, 10, y)
        return F.mse_loss(self((1 - share) * x + share * noise, t, y), noise - x)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3, weight_decay=0)


def faulty():
    return DiT(), pictures()
