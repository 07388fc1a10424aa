"""Nothing is wrong: a GAN with a hinge loss, spectral normalisation of the critic and two rates; the losses of both stay about where they are while the pictures become digits."""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = None


class Game(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(
            nn.Linear(16, 128), nn.Unflatten(1, (32, 2, 2)), nn.BatchNorm2d(32), nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip
        self.critic = nn.Sequential(
            spectral_norm(nn.Conv2d(1, 16, 4, 2, 1)), nn.LeakyReLU(0.1), spectral_norm(nn.Conv2d(16, 32, 4, 2, 1)),
            nn.LeakyReLU(0.1), nn.Flatten(), spectral_norm(nn.Linear(128, 1)),
        )  # fmt: skip

    def training_step(self, batch, _):
        real = batch[0]
        g, c = self.optimizers()
        fake = self.generator(torch.randn(len(real), 16))
        critic_loss = F.relu(1 - self.critic(real)).mean() + F.relu(1 + self.critic(fake.detach())).mean()
        c.zero_grad()
        self.manual_backward(critic_loss)
        c.step()
        loss = -self.critic(fake).mean()
        g.zero_grad()
        self.manual_backward(loss)
        g.step()
        return {"loss": loss.detach()}

    def configure_optimizers(self):
        return (
            torch.optim.Adam(self.generator.parameters(), lr=1e-4, betas=(0.0, 0.9)),
            torch.optim.Adam(self.critic.parameters(), lr=4e-4, betas=(0.0, 0.9)),
        )


def digits():
    x = torch.tensor(load_digits().images / 8 - 1, dtype=torch.float32)[:, None]
    return DataLoader(TensorDataset(x), batch_size=64, shuffle=True, drop_last=True)


def faulty():
    return Game(), digits()
