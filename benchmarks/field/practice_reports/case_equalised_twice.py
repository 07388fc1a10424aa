"""Layers with equalised rates (progressive GANs): the weight is multiplied by He's constant in the forward, and had been drawn with He's standard deviation already.
Answer: draw it from N(0, 1), or do not multiply.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM102 IM202 IM502 IM702",
    "remedies": ("INITIALISE",),
    "by": 60,
    "beside": "IM102 IM202 IM502 IM702 IM604",
    "layers": (),
}
MEASURED = (0.6039, 0.382)


class EqualConv(nn.Module):
    def __init__(self, inputs, outputs, std):
        super().__init__()
        self.gain = (2 / (9 * inputs)) ** 0.5
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3) * (self.gain if std is None else std))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return F.conv2d(x, self.weight * self.gain, self.bias, padding=1)


class Generator(pl.LightningModule):
    """A picture from its class and its coarse version."""

    def __init__(self, std, width=32):
        super().__init__()
        self.start = EqualConv(1, width, std)
        self.layers = nn.ModuleList(EqualConv(width, width, std) for _ in range(6))
        self.to_grey = nn.Conv2d(width, 1, 1)

    def forward(self, x):
        x = F.leaky_relu(self.start(x), 0.2)
        for i, layer in enumerate(self.layers):
            x = F.leaky_relu(layer(x), 0.2)
            if i in (1, 3):
                x = F.interpolate(x, scale_factor=2, mode="bilinear")
        return self.to_grey(x)

    def training_step(self, batch, _):
        x = batch[0]
        return F.mse_loss(self(F.avg_pool2d(x, 4)), x)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3, betas=(0.0, 0.99))


def digits():
    x, _ = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    return DataLoader(TensorDataset((x - x.mean()) / x.std()), batch_size=64, shuffle=True)


def faulty():
    return Generator(None), digits()


def fixed():
    return Generator(1.0), digits()
