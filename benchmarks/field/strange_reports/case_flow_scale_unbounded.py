"""A flow of four coupling layers: each multiplies half of the numbers by exp(s), s a free output of a network that is not started at 0. exp of exp of them
is out of all bounds: the first loss is astronomical. Asked there: why is the parameter scale necessary, and what role does it play? (It bounds s and starts it small.)
Question on tutorial -- https://github.com/xqding/RealNVP/issues/2
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM101 IM601 IM802 IM201 IM703",
    "remedies": (
        "INITIALISE",
        "OUTPUT_SCALE",
        "GUARD",
        "OUTPUT_ACTIVATION",
    ),
    "by": 10,
    "beside": "IM101 IM601 IM802 IM201 IM703 IM502 IM603 IM701",
    "layers": (),
}
MEASURED = (float("nan"), 4.599)


def rings():
    g = torch.Generator().manual_seed(0)
    angle = torch.rand(4096, generator=g) * 6.28
    radius = 1 + 0.5 * torch.randint(0, 2, (4096,), generator=g) + 0.05 * torch.randn(4096, generator=g)
    flat = torch.stack([angle.cos() * radius, angle.sin() * radius], 1)
    x = torch.cat([flat, 0.7 * torch.randn(4096, 2, generator=g)], 1)
    return DataLoader(TensorDataset(x), batch_size=128, shuffle=True)


class Coupling(nn.Module):
    def __init__(self, bounded):
        super().__init__()
        self.bounded = bounded
        self.net = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
        for layer in self.net[:4:2]:
            nn.init.kaiming_normal_(layer.weight)
        if bounded:
            nn.init.zeros_(self.net[4].weight)

    def forward(self, x):
        still, moved = x.chunk(2, 1)
        s, shift = self.net(still).chunk(2, 1)
        s = torch.tanh(s) if self.bounded else s
        return torch.cat([moved * s.exp() + shift, still], 1), s.sum(1)


class Flow(pl.LightningModule):
    def __init__(self, bounded):
        super().__init__()
        self.layers = nn.ModuleList(Coupling(bounded) for _ in range(4))

    def training_step(self, batch, _):
        z, volume = batch[0], 0
        for layer in self.layers:
            z, more = layer(z)
            volume = volume + more
        return (z.square().sum(1) / 2 - volume).mean() + 2 * 1.8379

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def faulty():
    return Flow(False), rings()


def fixed():
    return Flow(True), rings()
