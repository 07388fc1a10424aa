"""Masks are loaded as pictures of 0 and 255 and go into the binary cross-entropy like that: the loss is negative and falls without end.
Answer there: make sure the mask is 0 to 1, not 0 to 255.
When i run this code, get loss is negative?? -- https://github.com/milesial/Pytorch-UNet/issues/78
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM802 IM603 IM703 IM101 IM201",
    "remedies": ("TARGET", "DATA", "LOSS_SCALE", "INPUT"),
    "by": 150,
    "beside": "IM802 IM603 IM703 IM101 IM201 IM303 IM301 IM702",
    "layers": (),
}
MEASURED = (0.3159, 0.01164)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Segment(pl.LightningModule):
    def __init__(self, high):
        super().__init__()
        self.high = high
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 1, 1),
        )

    def training_step(self, batch, _):
        mask = (F.avg_pool2d(batch[0], 3, 1, 1) > 0.5).float() * self.high
        return F.binary_cross_entropy_with_logits(self.net(batch[0]), mask)

    def configure_optimizers(self):
        return torch.optim.RMSprop(self.parameters(), lr=1e-3)


def faulty():
    return Segment(255.0), digits(16, images=True)


def fixed():
    return Segment(1.0), digits(16, images=True)


def score(module, loader):
    x = loader.dataset.tensors[0]
    return ((module.net(x) > 0) != (F.avg_pool2d(x, 3, 1, 1) > 0.5)).float().mean()
