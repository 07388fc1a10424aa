"""A diffusion model on points: the time step, 0 to 999, goes in as that number beside two coordinates of std 1 and drowns them. Its loss stays where no look at
the points leaves it. A common first mistake where the tutorial's sinusoidal time embedding is left out; reported as: v_loss, n_loss do not get lower.
My trained model only generates noises -- https://github.com/beresandras/clear-diffusion-keras/issues/4
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM701",
    "remedies": ("INPUT",),
    "by": 30,
    "beside": "IM701 IM101 IM703 IM302 IM301 IM603 IM502",
    "layers": (),
}
MEASURED = (37.99, 0.2614)


BAR = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)


def spirals():
    g = torch.Generator().manual_seed(0)
    turn = torch.rand(4096, generator=g) * 9
    x = torch.stack([turn * turn.cos(), turn * turn.sin()], 1) / 3.7
    return DataLoader(TensorDataset(x), batch_size=512, shuffle=True)


class Denoiser(pl.LightningModule):
    def __init__(self, scale, shift):
        super().__init__()
        self.scale, self.shift = scale, shift
        self.net = nn.Sequential(nn.Linear(3, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))

    def training_step(self, batch, _):
        x = batch[0]
        t = torch.randint(0, 1000, (len(x), 1))
        bar, noise = BAR[t], torch.randn_like(x)
        seen = torch.cat([bar.sqrt() * x + (1 - bar).sqrt() * noise, t * self.scale + self.shift], 1)
        return F.mse_loss(self.net(seen), noise)

    def configure_optimizers(self):
        return torch.optim.RMSprop(self.parameters(), lr=5e-4)


def faulty():
    return Denoiser(1.0, 0.0), spirals()


def fixed():
    return Denoiser(1 / 300, -1.7), spirals()
