"""A trained network is held, a copy of its body gets a hint, and what the copy gives comes in through convolutions that start at 0: at the first step nothing but these gets a gradient. It is right.
Why init at zero for the convs? -- https://github.com/lllyasviel/ControlNet/issues/51
"""

import copy
import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = None
MEASURED = None


def noisy():
    """Digits under noise; the hint is where the ink is."""
    x = torch.tensor(load_digits().data / 8 - 1, dtype=torch.float32).view(-1, 1, 8, 8)
    g = torch.Generator().manual_seed(0)
    return DataLoader(
        TensorDataset(x, x + 2 * torch.randn(x.shape, generator=g), (x > 0).float()), batch_size=64, shuffle=True
    )


def zero(layer):
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = nn.Conv2d(1, 24, 3, padding=1)
        self.one = nn.Sequential(nn.GroupNorm(4, 24), nn.SiLU(), nn.Conv2d(24, 24, 3, padding=1))
        self.two = nn.Sequential(nn.GroupNorm(4, 24), nn.SiLU(), nn.Conv2d(24, 24, 3, padding=1))

    def forward(self, x, hint=0):
        one = self.enter(x) + hint
        two = one + self.one(one)
        return two, two + self.two(two)


def trained(loader):
    torch.manual_seed(2)
    body, out = Body(), nn.Conv2d(24, 1, 3, padding=1)
    optimizer = torch.optim.Adam([*body.parameters(), *out.parameters()], lr=2e-3)
    for clean, noisy, _ in list(loader) * 3:
        optimizer.zero_grad()
        F.mse_loss(out(body(noisy)[1]), clean).backward()
        optimizer.step()
    return body, out


class Controlled(pl.LightningModule):
    def __init__(self, body, out):
        super().__init__()
        self.control = copy.deepcopy(body)
        self.body, self.out = body.requires_grad_(False), out.requires_grad_(False)
        self.hint = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.SiLU(), zero(nn.Conv2d(24, 24, 1)))
        self.first, self.second = zero(nn.Conv2d(24, 24, 1)), zero(nn.Conv2d(24, 24, 1))

    def training_step(self, batch, _):
        clean, noisy, hint = batch
        one, two = self.control(noisy, self.hint(hint))
        own = self.body(noisy)
        return F.mse_loss(self.out(own[1] + self.first(one) + self.second(two)), clean)

    def configure_optimizers(self):
        return torch.optim.AdamW((p for p in self.parameters() if p.requires_grad), lr=1e-3)


def faulty():
    loader = noisy()
    return Controlled(*trained(loader)), loader
