"""A GAN with a penalty on the critic's slope: the critic's loss falls to 1.386 = 2 ln 2 and stays there, because it can no longer tell the two apart, which is the aim."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 1200
ANSWER = None


class Game(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(
            nn.Linear(4, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 2)
        )
        self.critic = nn.Sequential(
            nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
        )

    def training_step(self, batch, _):
        real = batch[0].requires_grad_()
        opt_g, opt_d = self.optimizers()
        fake = self.generator(torch.randn(len(real), 4))
        said = self.critic(real)
        loss_d = F.softplus(-said).mean() + F.softplus(self.critic(fake.detach())).mean()
        (slope,) = torch.autograd.grad(said.sum(), real, create_graph=True)
        opt_d.zero_grad()
        self.manual_backward(loss_d + 0.5 * slope.square().sum(1).mean())
        opt_d.step()
        loss_g = F.softplus(-self.critic(fake)).mean()
        opt_g.zero_grad()
        self.manual_backward(loss_g)
        opt_g.step()
        return {"loss": loss_d.detach()}

    def configure_optimizers(self):
        return (
            torch.optim.Adam(self.generator.parameters(), lr=1e-3, betas=(0.0, 0.99)),
            torch.optim.Adam(self.critic.parameters(), lr=1e-3, betas=(0.0, 0.99)),
        )


def faulty():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(4096, 2, generator=generator) @ torch.tensor([[1.0, 0.6], [0.0, 0.8]])
    return Game(), DataLoader(TensorDataset(points), batch_size=128, shuffle=True)
