"""A U-Net that says how a picture looks after a time (it drifts and blurs). The time goes in as sines of t / 100, which are divided as whole numbers: every sample gets the embedding of the time 0.
Answer: divide as floating-point numbers; the time's branch is the same for every sample.
"""

import math

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM503 IM702 IM302",
    "remedies": ("DATA", "INPUT", "DIMENSION", "CONNECT"),
    "by": 200,
    "beside": "IM503 IM702 IM701 IM302 IM602",
    "layers": ("*time*",),
}
MEASURED = (0.09328, 0.001096)
LEVELS = 100


def pictures():
    x, _ = load_digits(return_X_y=True)
    x = torch.tensor(x / 8 - 1, dtype=torch.float32).view(-1, 1, 8, 8).repeat(2, 1, 1, 1)
    t = torch.randint(0, LEVELS, (len(x),), generator=torch.Generator().manual_seed(0))
    wave = 2 * math.pi * torch.fft.fftfreq(8)
    blur = wave[:, None].square() + wave[None, :].square()
    share = (t / LEVELS)[:, None, None, None]
    y = torch.fft.ifft2(torch.fft.fft2(x) * torch.exp(share * (-blur - 3j * wave))).real
    return DataLoader(TensorDataset(x, t, y), batch_size=128, shuffle=True, drop_last=True)


class Block(nn.Module):
    def __init__(self, inputs, outputs, times):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(4, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time = nn.Linear(times, outputs)
        self.norm2, self.conv2 = nn.GroupNorm(4, outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, t):
        h = self.conv1(F.silu(self.norm1(x))) + self.time(F.silu(t))[:, :, None, None]
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


class UNet(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 64))
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.down1, self.down2 = Block(width, width, 64), Block(width, 2 * width, 64)
        self.middle = Block(2 * width, 2 * width, 64)
        self.up2, self.up1 = Block(4 * width, width, 64), Block(2 * width, width, 64)
        self.norm, self.head = nn.GroupNorm(4, width), nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x, embedding):
        t = self.time(embedding)
        a = self.down1(self.stem(x), t)
        b = self.down2(F.avg_pool2d(a, 2), t)
        c = self.middle(F.avg_pool2d(b, 2), t)
        c = self.up2(torch.cat((F.interpolate(c, scale_factor=2), b), 1), t)
        c = self.up1(torch.cat((F.interpolate(c, scale_factor=2), a), 1), t)
        return self.head(F.silu(self.norm(c)))


class Surrogate(pl.LightningModule):
    def __init__(self, whole):
        super().__init__()
        self.net, self.whole = UNet(), whole

    def embedding(self, t):
        time = t // LEVELS if self.whole else t / LEVELS
        angles = 50 * time[:, None] * torch.exp(-math.log(100) * torch.arange(16) / 16)
        return torch.cat((angles.sin(), angles.cos()), 1)

    def training_step(self, batch, _):
        x, t, y = batch
        return F.mse_loss(self.net(x, self.embedding(t)), y)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


def faulty():
    return Surrogate(True), pictures()


def fixed():
    return Surrogate(False), pictures()
