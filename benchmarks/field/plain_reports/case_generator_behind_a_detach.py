"""A GAN whose fakes are detached once, for both losses: the critic's loss goes to 0, the generator's rises, and the pictures stay noise.
Answer: detach them for the critic alone.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 1600
ANSWER = {
    "codes": "IM602 IM604",
    "remedies": ("CONNECT", "OPTIMIZER"),
    "by": 60,
    "beside": "IM602 IM604",
    "layers": ("generator*",),
}
MEASURED = (1.526, 0.3412)


class GAN(pl.LightningModule):
    def __init__(self, detached):
        super().__init__()
        self.automatic_optimization = False
        self.detached = detached
        self.generator = nn.Sequential(
            nn.Linear(16, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2), nn.Linear(128, 64), nn.Tanh()
        )
        self.discriminator = nn.Sequential(
            nn.Linear(64, 128),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.3),
            nn.Linear(128, 64),
            nn.LeakyReLU(0.2),
            nn.Linear(64, 1),
        )

    def training_step(self, batch, _):
        real = batch[0]
        g, d = self.optimizers()
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        fake = self.generator(torch.randn(len(real), 16))
        if self.detached:
            fake = fake.detach()
        right = F.binary_cross_entropy_with_logits(self.discriminator(real), ones)
        d_loss = (right + F.binary_cross_entropy_with_logits(self.discriminator(fake.detach()), zeros)) / 2
        d.zero_grad()
        self.manual_backward(d_loss)
        d.step()
        g_loss = F.binary_cross_entropy_with_logits(self.discriminator(fake), ones)
        g.zero_grad()
        self.manual_backward(g_loss)
        g.step()
        return {"loss": g_loss.detach()}

    def configure_optimizers(self):
        return (
            torch.optim.Adam(self.generator.parameters(), lr=1e-3, betas=(0.5, 0.999)),
            torch.optim.Adam(self.discriminator.parameters(), lr=5e-4, betas=(0.5, 0.999)),
        )


def digits():
    x = torch.tensor(load_digits().data / 8 - 1, dtype=torch.float32)
    return DataLoader(TensorDataset(x), batch_size=64, shuffle=True, drop_last=True)


def score(module, loader):
    """How far the mean picture is from that of the digits, of its variance over the pixels."""
    real = loader.dataset.tensors[0].mean(0)
    made = module.generator(torch.randn(2048, 16, generator=torch.Generator().manual_seed(1))).mean(0)
    return float((made - real).square().mean() / real.var())


def faulty():
    return GAN(True), digits()


def fixed():
    return GAN(False), digits()
