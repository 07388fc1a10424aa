"""A small radiance field: the density of each point on a ray is relu(raw). With this seed raw is below 0 everywhere, so every ray is empty, every picture black,
and neither density nor colour ever gets a gradient. Asked there: why is the video blank? Answer: softplus(raw - 1) in place of ReLU.
White space -- https://github.com/munshisanowarraihan/nerf-meta/issues/3
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 15, 250
ANSWER = {
    "codes": "IM602 IM604 IM301",
    "remedies": (
        "ACTIVATION",
        "OUTPUT_ACTIVATION",
        "INITIALISE",
    ),
    "by": 40,
    "beside": "IM602 IM604 IM301 IM202 IM603",
    "layers": (),
}
MEASURED = (0.1526, 0.002341)


DEPTHS = torch.linspace(0.05, 0.95, 12)


def scene():
    """Rays from the left; a coloured disc is what they meet."""
    g = torch.Generator().manual_seed(0)
    height = torch.rand(4096, generator=g)
    points = torch.stack([DEPTHS.expand(4096, 12), height[:, None].expand(4096, 12)], -1)
    inside = ((points - 0.5).square().sum(-1) < 0.12).float()
    colour = torch.stack([points[..., 1], points[..., 0], 1 - points[..., 1]], -1)
    return DataLoader(TensorDataset(points, render(25 * inside, colour)), batch_size=128, shuffle=True)


def render(density, colour):
    alpha = 1 - torch.exp(-density * 0.08)
    seen = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha[:, :-1]], 1), 1)
    return ((alpha * seen)[..., None] * colour).sum(1)


class Field(pl.LightningModule):
    def __init__(self, soft):
        super().__init__()
        self.soft = soft
        self.trunk = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.density, self.colour = nn.Linear(64, 1), nn.Linear(64, 3)

    def forward(self, points):
        waves = [f(points * 3.14 * k) for k in (1, 2) for f in (torch.sin, torch.cos)]
        h = self.trunk(torch.cat([points, *waves], -1))
        raw = self.density(h).squeeze(-1)
        density = F.softplus(raw - 1) if self.soft else F.relu(raw)
        return render(10 * density, torch.sigmoid(self.colour(h)))

    def training_step(self, batch, _):
        return F.mse_loss(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def faulty():
    return Field(False), scene()


def fixed():
    return Field(True), scene()
