"""A network that must not fall with any of its inputs takes exp(w) as its weights and draws w as a Linear layer draws its own: every weight is near 1, so each unit is the sum of all before it, and tanh is at its end.
Answer: draw w around -ln(fan_in).
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM303 IM502 IM302 IM702 IM101",
    "remedies": ("INITIALISE",),
    "by": 100,
    "beside": "IM303 IM502 IM302 IM702 IM101 IM202 IM703",
    "layers": (),
}
MEASURED = (1354, 0.177)


class Rising(nn.Module):
    """A linear layer of positive weights."""

    def __init__(self, inputs, outputs, centred):
        super().__init__()
        self.w = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_uniform_(self.w, a=5**0.5)
        if centred:
            with torch.no_grad():
                self.w.mul_(10).sub_(torch.tensor(float(inputs)).log())

    def forward(self, x):
        return F.linear(x, self.w.exp(), self.bias)


class Net(pl.LightningModule):
    def __init__(self, centred):
        super().__init__()
        sizes = (6, 64, 64, 64)
        layers = []
        for inputs, outputs in zip(sizes, sizes[1:]):
            layers += [Rising(inputs, outputs, centred), nn.Tanh()]
        self.net = nn.Sequential(*layers, Rising(64, 1, centred))

    def training_step(self, batch, _):
        x, y = batch
        return F.mse_loss(self.net(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def prices():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2048, 6, generator=generator)
    y = (x[:, :3].sum(1) + 2 * torch.sigmoid(4 * x[:, 3]) + x[:, 4].clamp(min=0))[:, None]
    y = (y - y.mean()) / y.std()
    return DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)


def faulty():
    return Net(False), prices()


def fixed():
    return Net(True), prices()
