"""A diffusion model predicts the noise, but its loss compares the picture got back from it, (x_t - sigma * noise) / root(alpha_bar). With the cosine schedule alpha_bar
ends at 1e-5, so a few late times have 100 000 times the weight of the others and throw the network. Noted there: an extremely large value, often NaN in the first epochs.
noise_schedule setting -- https://github.com/LTH14/mar/issues/70
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM601 IM603 IM802 IM201",
    "remedies": (
        "SLOWER",
        "LEARNING_RATE",
        "CLIP",
        "LOSS_SCALE",
        "LOSS_TERM",
        "GUARD",
    ),
    "by": 60,
    "beside": "IM601 IM603 IM802 IM201 IM101 IM703",
    "layers": (),
}
MEASURED = (1000000000.0, 0.4762)


T = 100
BAR = torch.cos(torch.arange(1, T + 1) / T * 3.14159 / 2).square().clamp(min=1e-5)


def moons():
    g = torch.Generator().manual_seed(0)
    angle = torch.rand(4096, generator=g) * 3.14
    upper = torch.rand(4096, generator=g) < 0.5
    x = torch.where(upper, torch.cos(angle), 1 - torch.cos(angle))
    y = torch.where(upper, torch.sin(angle), 0.5 - torch.sin(angle))
    return DataLoader(TensorDataset(torch.stack([x - 0.5, y - 0.25], 1) * 1.5), batch_size=256, shuffle=True)


class Denoiser(pl.LightningModule):
    def __init__(self, on_the_noise):
        super().__init__()
        self.on_the_noise = on_the_noise
        self.net = nn.Sequential(nn.Linear(3, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 2))

    def forward(self, x, t):
        return self.net(torch.cat([x, t[:, None] / T - 0.5], 1))

    def training_step(self, batch, _):
        x = batch[0]
        t = torch.randint(0, T, (len(x),))
        bar, noise = BAR[t][:, None], torch.randn_like(x)
        noisy = bar.sqrt() * x + (1 - bar).sqrt() * noise
        guess = self(noisy, t)
        if self.on_the_noise:
            return F.mse_loss(guess, noise)
        return F.mse_loss((noisy - (1 - bar).sqrt() * guess) / bar.sqrt(), x)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=2e-2, momentum=0.9)


def faulty():
    return Denoiser(False), moons()


def fixed():
    return Denoiser(True), moons()


def score(module, loader):
    """Mean squared error of the noise at all times."""
    x = loader.dataset.tensors[0]
    g = torch.Generator().manual_seed(1)
    t = torch.randint(0, T, (len(x),), generator=g)
    noise = torch.randn(x.shape, generator=g)
    bar = BAR[t][:, None]
    with torch.no_grad():
        wrong = F.mse_loss(module(bar.sqrt() * x + (1 - bar).sqrt() * noise, t), noise)
    return float(torch.nan_to_num(wrong, nan=1e9, posinf=1e9))
