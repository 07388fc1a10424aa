"""A GAN's second optimizer was copied from the first and still holds the generator's parameters: the discriminator is never trained.
Answer there: the second Adam is for the discriminator.
Error in this line -- https://github.com/bohaohuang/mrs/issues/68
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM602",
    "remedies": ("OPTIMIZER",),
    "by": 20,
    "beside": "",
    "layers": ("discriminator*",),
}
MEASURED = (0.3548, 0.07581)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Gan(pl.LightningModule):
    def __init__(self, copied):
        super().__init__()
        self.automatic_optimization = False
        self.copied = copied
        self.generator = nn.Sequential(nn.Linear(16, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.Sigmoid())
        self.discriminator = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def training_step(self, batch, _):
        of_generator, of_discriminator = self.optimizers()
        x = batch[0]
        fake = self.generator(torch.randn(len(x), 16))
        loss = F.softplus(-self.discriminator(x)).mean() + F.softplus(self.discriminator(fake.detach())).mean()
        of_discriminator.zero_grad()
        self.manual_backward(loss)
        of_discriminator.step()
        cheat = F.softplus(-self.discriminator(fake)).mean()
        of_generator.zero_grad()
        self.manual_backward(cheat)
        of_generator.step()
        return loss.detach()

    def configure_optimizers(self):
        second = self.generator if self.copied else self.discriminator
        first = torch.optim.Adam(self.generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
        return first, torch.optim.Adam(second.parameters(), lr=1e-3, betas=(0.5, 0.999))


def faulty():
    return Gan(True), digits(64)


def fixed():
    return Gan(False), digits(64)


def score(module, loader):
    """How far the generated pictures' mean is from that of the real ones."""
    torch.manual_seed(0)
    return (module.generator(torch.randn(1000, 16)).mean(0) - loader.dataset.tensors[0].mean(0)).abs().mean()
