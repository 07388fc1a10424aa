"""Segmentation with a Dice loss of (output > 0.5).float(), made to run by loss.requires_grad = True: the loss stays where it is.
Answer: the Dice loss of the probabilities.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM602 IM604",
    "remedies": ("CONNECT",),
    "by": 10,
    "beside": "IM602 IM604",
    "layers": (),
}
MEASURED = (0.7364, 0.174)


def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = block(1, 8), block(8, 16)
        self.pool, self.up = nn.MaxPool2d(2), nn.ConvTranspose2d(16, 8, 2, 2)
        self.three, self.out = block(16, 8), nn.Conv2d(8, 1, 1)

    def forward(self, x):
        one = self.one(x)
        two = self.two(self.pool(one))
        return torch.sigmoid(self.out(self.three(torch.cat((one, self.up(two)), 1))))


class Segmentation(pl.LightningModule):
    def __init__(self, thresholded):
        super().__init__()
        self.net, self.thresholded = UNet(), thresholded

    def training_step(self, batch, _):
        x, mask = batch
        out = self.net(x)
        if self.thresholded:
            out = (out > 0.5).float()
        both = 2 * (out * mask).sum() + 1
        loss = 1 - both / (out.sum() + mask.sum() + 1)
        if self.thresholded:
            loss.requires_grad = True
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def pictures():
    generator = torch.Generator().manual_seed(0)
    at = torch.randint(0, 10, (512, 2), generator=generator)
    i = torch.arange(16)
    rows = (i >= at[:, :1]) & (i < at[:, :1] + 6)
    columns = (i >= at[:, 1:]) & (i < at[:, 1:] + 6)
    mask = (rows[:, :, None] & columns[:, None]).float()[:, None]
    x = mask + 0.7 * torch.randn(512, 1, 16, 16, generator=generator)
    return DataLoader(TensorDataset(x, mask), batch_size=32, shuffle=True)


def faulty():
    return Segmentation(True), pictures()


def fixed():
    return Segmentation(False), pictures()
