"""Nothing is wrong: a vision Transformer like CaiT with layer scales of 1e-4, a head that starts at zero, dropped paths, smoothed labels, mixed pictures and a moving average of the weights that is kept aside."""

import copy

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = None


class Block(nn.Module):
    def __init__(self, width, drop):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.scale1 = nn.Parameter(torch.full((width,), 1e-4))
        self.scale2 = nn.Parameter(torch.full((width,), 1e-4))
        self.drop = drop

    def path(self, x):
        if not self.training or self.drop == 0:
            return x
        return x * (torch.rand(len(x), 1, 1) >= self.drop) / (1 - self.drop)

    def forward(self, x):
        h = self.norm1(x)
        x = x + self.path(self.scale1 * self.attention(h, h, h, need_weights=False)[0])
        return x + self.path(self.scale2 * self.mlp(self.norm2(x)))


class ViT(nn.Module):
    def __init__(self, width=48, depth=6):
        super().__init__()
        self.cut = nn.Conv2d(1, width, 2, 2)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.place = nn.Parameter(0.02 * torch.randn(17, width))
        self.blocks = nn.Sequential(*(Block(width, 0.1 * i / depth) for i in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x):
        x = self.cut(x).flatten(2).mT
        x = torch.cat((self.token.expand(len(x), -1, -1), x), 1) + self.place
        return self.head(self.norm(self.blocks(x))[:, 0])


class Training(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = ViT()
        self.average = copy.deepcopy(self.net).requires_grad_(False)

    def training_step(self, batch, _):
        x, y = batch
        share = float(torch.distributions.Beta(0.2, 0.2).sample())
        order = torch.randperm(len(x))
        logits = self.net(share * x + (1 - share) * x[order])
        one, other = (F.cross_entropy(logits, labels, label_smoothing=0.1) for labels in (y, y[order]))
        return share * one + (1 - share) * other

    def on_train_batch_end(self, *_):
        for kept, now in zip(self.average.parameters(), self.net.parameters()):
            kept.lerp_(now.detach(), 0.02)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.net.parameters(), lr=2e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=STEPS, pct_start=0.2)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def digits():
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    return DataLoader(
        TensorDataset((x - x.mean()) / x.std(), torch.tensor(y)), batch_size=64, shuffle=True, drop_last=True
    )


def faulty():
    return Training(), digits()
