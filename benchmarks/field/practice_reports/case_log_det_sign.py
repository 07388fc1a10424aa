"""A RealNVP of eight couplings whose log determinant has the wrong sign in the likelihood: it learns to shrink everything to a point.
Answer: log p(x) = log p(z) + log |det dz/dx|.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM102 IM702 IM802",
    "remedies": ("SIGN", "LOSS_TERM"),
    "by": 250,
    "beside": "IM102 IM702 IM303 IM202 IM201",
    "layers": (),
}
MEASURED = (17.83, 1.388)


def moons():
    generator = torch.Generator().manual_seed(0)
    angle = 3.14159 * torch.rand(4096, generator=generator)
    upper = torch.rand(4096, generator=generator) < 0.5
    x = torch.stack(
        (
            torch.where(upper, angle.cos(), 1 - angle.cos()),
            torch.where(upper, angle.sin(), 0.5 - angle.sin()),
        ),
        1,
    )
    x = x + 0.05 * torch.randn(x.shape, generator=generator)
    return DataLoader(TensorDataset((x - x.mean(0)) / x.std(0)), batch_size=128, shuffle=True)


class Coupling(nn.Module):
    def __init__(self, first):
        super().__init__()
        self.first = first
        self.net = nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, x):
        kept, changed = (x[:, :1], x[:, 1:]) if self.first else (x[:, 1:], x[:, :1])
        scale, shift = self.net(kept).chunk(2, 1)
        scale = 2 * torch.tanh(scale / 2)
        changed = changed * scale.exp() + shift
        return torch.cat((kept, changed) if self.first else (changed, kept), 1), scale[:, 0]


class Flow(pl.LightningModule):
    def __init__(self, sign):
        super().__init__()
        self.couplings, self.sign = nn.ModuleList(Coupling(i % 2 == 0) for i in range(8)), sign

    def likelihood(self, x, sign):
        total = 0
        for coupling in self.couplings:
            x, log_det = coupling(x)
            total = total + log_det
        return -0.5 * x.square().sum(1) - 1.8379 + sign * total

    def training_step(self, batch, _):
        return -self.likelihood(batch[0], self.sign).mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def score(module, loader):
    return sum(-float(module.likelihood(x, 1).mean()) for (x,) in loader) / len(loader)


def faulty():
    return Flow(-1), moons()


def fixed():
    return Flow(1), moons()
