"""A generative adversarial network: the fakes are detached once, for both losses, to save time; so the generator's loss reaches only the discriminator, and the generator never moves.
The loss of the discriminator falls to 0. Commonly asked as: generator loss only goes up, its images stay noise. Answer: detach for the discriminator's step alone.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 800
ANSWER = {
    "codes": "IM602 IM604",
    "remedies": ("CONNECT",),
    "by": 60,
    "beside": "IM602 IM604 IM603",
    "layers": (),
}
MEASURED = (0.8602, 0.3607)


def ring():
    g = torch.Generator().manual_seed(0)
    angle = torch.rand(4096, generator=g) * 6.28
    x = torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(4096, 2, generator=g)
    return DataLoader(TensorDataset(x), batch_size=128, shuffle=True)


class Game(pl.LightningModule):
    def __init__(self, detach):
        super().__init__()
        self.automatic_optimization = False
        self.detach = detach
        self.generator = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        self.critic = nn.Sequential(
            nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
        )

    def training_step(self, batch, _):
        first, second = self.optimizers()
        real = batch[0]
        fake = self.generator(torch.randn(len(real), 8))
        if self.detach:
            fake = fake.detach()
        sure, unsure = self.critic(real), self.critic(fake.detach())
        loss = F.binary_cross_entropy_with_logits(sure, torch.ones_like(sure)) + F.binary_cross_entropy_with_logits(
            unsure, torch.zeros_like(sure)
        )
        second.zero_grad()
        self.manual_backward(loss)
        second.step()
        verdict = self.critic(fake)
        deceit = F.binary_cross_entropy_with_logits(verdict, torch.ones_like(verdict))
        first.zero_grad()
        self.manual_backward(deceit)
        first.step()
        return deceit.detach()

    def configure_optimizers(self):
        return (
            torch.optim.Adam(self.generator.parameters(), lr=1e-3, betas=(0.5, 0.999)),
            torch.optim.Adam(self.critic.parameters(), lr=1e-3, betas=(0.5, 0.999)),
        )


def faulty():
    return Game(True), ring()


def fixed():
    return Game(False), ring()


def score(module, loader):
    """How far the generated points are from the ring."""
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        made = module.generator(torch.randn(2048, 8, generator=g))
    return float((made.norm(dim=1) - 1).abs().mean())
