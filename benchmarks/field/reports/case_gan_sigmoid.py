"""GAN whose discriminator ends in a sigmoid, with BCELoss and the generator's loss log(1 - D): the discriminator's loss goes to 0, the generator stands still.
Answer there: no sigmoid, BCEWithLogitsLoss (and with it the loss that does not saturate).
loss D goes to zero -- https://github.com/soumith/ganhacks/issues/67
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM303 IM202 IM503",
    "remedies": ("LOSS_TERM", "OUTPUT_ACTIVATION", "SLOWER"),
    "by": 200,
    "beside": "IM602 IM604",
    "layers": (),
}
MEASURED = (15.9, 1.669)


class Gan(pl.LightningModule):
    def __init__(self, saturating):
        super().__init__()
        self.automatic_optimization = False
        self.saturating = saturating
        self.generator = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        layers = [nn.Linear(2, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1)]
        self.discriminator = nn.Sequential(*layers, *([nn.Sigmoid()] if saturating else []))

    def training_step(self, batch, _):
        (real,) = batch
        first, second = self.optimizers()
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        loss = F.binary_cross_entropy if self.saturating else F.binary_cross_entropy_with_logits
        fake = self.generator(torch.randn(len(real), 8))
        d = loss(self.discriminator(real), ones) + loss(self.discriminator(fake.detach()), zeros)
        second.zero_grad()
        self.manual_backward(d)
        second.step()
        out = self.discriminator(fake)
        g = -loss(out, zeros) if self.saturating else loss(out, ones)
        first.zero_grad()
        self.manual_backward(g)
        first.step()

    def configure_optimizers(self):
        return (
            torch.optim.Adam(self.generator.parameters(), lr=1e-3, betas=(0.5, 0.999)),
            torch.optim.Adam(self.discriminator.parameters(), lr=4e-3, betas=(0.5, 0.999)),
        )


def data():
    g = torch.Generator().manual_seed(0)
    angle = torch.rand(4096, 1, generator=g) * 6.2832
    points = 12 + torch.cat([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(4096, 2, generator=g)
    return DataLoader(TensorDataset(points), batch_size=64, shuffle=True)


def faulty():
    return Gan(True), data()


def fixed():
    return Gan(False), data()


def score(module, loader):
    """Distance between the means of what is made and what there is."""
    return (module.generator(torch.randn(1000, 8)).mean(0) - loader.dataset.tensors[0].mean(0)).norm()
