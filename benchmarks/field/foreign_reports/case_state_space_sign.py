"""A diagonal state space: h becomes exp(dt A) h + dt B x, and the minus of A = -exp(log A) is forgotten: the state grows with every step.
Answer: the minus.
The state only accumulates when A is not negative -- https://github.com/state-spaces/mamba/pull/996
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM101 IM601 IM703 IM802 IM401",
    "remedies": ("NORMALISE", "INITIALISE", "OUTPUT_SCALE", "SIGN"),
    "by": 20,
    "beside": "IM101 IM201 IM601 IM603 IM703 IM702",
    "layers": (),
}
MEASURED = (1.829e09, 0.1133)


def tones():
    """Which of four paces a noisy wave has."""
    g = torch.Generator().manual_seed(0)
    y = torch.randint(0, 4, (768,), generator=g)
    t = torch.arange(60)
    x = torch.sin(6 * torch.rand(768, 1, generator=g) + (0.1 + 0.15 * y[:, None]) * t)
    return DataLoader(
        TensorDataset((x + 0.3 * torch.randn(768, 60, generator=g))[..., None], y), batch_size=48, shuffle=True
    )


class StateSpace(nn.Module):
    def __init__(self, width, states, sign):
        super().__init__()
        self.sign = sign
        self.log_a = nn.Parameter(torch.log(torch.arange(1, states + 1).float()).repeat(width, 1))
        self.log_dt = nn.Parameter(torch.empty(width, 1).uniform_(-6.9, -2.3))
        self.b = nn.Parameter(torch.ones(width, states))
        self.c = nn.Parameter(torch.randn(width, states) / states**0.5)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        dt = self.log_dt.exp()
        keep, h, y = (dt * self.sign * self.log_a.exp()).exp(), 0, []
        for step in x.unbind(1):
            h = keep * h + dt * self.b * step[..., None]
            y.append((h * self.c).sum(-1))
        return x + self.out(F.gelu(torch.stack(y, 1)))


class Net(pl.LightningModule):
    def __init__(self, sign):
        super().__init__()
        self.up = nn.Linear(1, 16)
        self.layers = nn.Sequential(StateSpace(16, 8, sign), StateSpace(16, 8, sign))
        self.head = nn.Linear(16, 4)

    def training_step(self, batch, _):
        return F.cross_entropy(self.head(self.layers(self.up(batch[0])).mean(1)), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def faulty():
    return Net(1.0), tones()


def fixed():
    return Net(-1.0), tones()
