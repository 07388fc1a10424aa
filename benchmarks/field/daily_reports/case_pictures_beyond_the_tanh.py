"""The generator of a GAN ends in tanh, but the real pictures are left at 0 to 255: the critic tells them apart by their brightness, and all the generator learns is to push every pixel to 1.
Answer: bring the real pictures to -1 to 1.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 1600
ANSWER = {
    "codes": "IM701 IM303",
    "remedies": ("INPUT", "TARGET"),
    "by": 200,
    "beside": "IM701 IM303 IM703 IM603 IM702 IM202",
    "layers": (),
}
MEASURED = (0.9382, 0.2438)


class GAN(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(
            nn.Linear(16, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2), nn.Linear(128, 64), nn.Tanh()
        )
        self.critic = nn.Sequential(
            nn.Linear(64, 128),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.3),
            nn.Linear(128, 64),
            nn.LeakyReLU(0.2),
            nn.Linear(64, 1),
        )

    def training_step(self, batch, _):
        real = batch[0]
        opt_g, opt_d = self.optimizers()
        fake = self.generator(torch.randn(len(real), 16))
        loss_d = F.softplus(-self.critic(real)).mean() + F.softplus(self.critic(fake.detach())).mean()
        opt_d.zero_grad()
        self.manual_backward(loss_d)
        opt_d.step()
        loss_g = F.softplus(-self.critic(fake)).mean()
        opt_g.zero_grad()
        self.manual_backward(loss_g)
        opt_g.step()
        return {"loss": loss_g.detach()}

    def configure_optimizers(self):
        return (
            torch.optim.Adam(self.generator.parameters(), lr=1e-3, betas=(0.5, 0.999)),
            torch.optim.Adam(self.critic.parameters(), lr=5e-4, betas=(0.5, 0.999)),
        )


def digits(scaled):
    x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    x = 2 * x - 1 if scaled else 255 * x
    return DataLoader(TensorDataset(x), batch_size=64, shuffle=True, drop_last=True)


def score(module, loader):
    """How far the mean picture, standardised, is from that of the digits; 2 says that they have nothing in common."""
    real = loader.dataset.tensors[0].mean(0)
    made = module.generator(torch.randn(2048, 16, generator=torch.Generator().manual_seed(1))).mean(0)
    real, made = ((x - x.mean()) / (x.std() + 1e-6) for x in (real, made))
    return float((made - real).square().mean())


def faulty():
    return GAN(), digits(False)


def fixed():
    return GAN(), digits(True)
