"""A picture as a function of its coordinates: sine layers, sin(30 W x), with the initial weights that PyTorch gives a linear layer. Thirty times too steep at each layer.
Answer: the initialisation that belongs to it, U(+-sqrt(6/n)/30) (Sitzmann et al. 2020).
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM201 IM303 IM502 IM101",
    "remedies": ("INITIALISE", "OUTPUT_SCALE", "INPUT"),
    "by": 60,
    "beside": "IM201 IM303 IM502 IM101 IM603 IM701",
    "layers": (),
}
MEASURED = (1.029, 0.005799)


def picture():
    """A smooth picture of 64 x 64: the mean digits beside each other, blown up."""
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).view(-1, 8, 8)
    means = torch.stack([x[torch.tensor(y) == k].mean(0) for k in range(4)])
    image = torch.cat((torch.cat((means[0], means[1]), 1), torch.cat((means[2], means[3]), 1)), 0)
    image = F.interpolate(image[None, None], scale_factor=4, mode="bicubic")[0, 0]
    line = torch.linspace(-1, 1, 64)
    places = torch.cartesian_prod(line, line)
    generator = torch.Generator().manual_seed(0)
    seen = torch.rand(4096, generator=generator) < 0.5
    value = ((image - image.mean()) / image.std()).flatten()[:, None]
    return places, value, seen


def pixels():
    places, value, seen = picture()
    return DataLoader(TensorDataset(places[seen], value[seen]), batch_size=256, shuffle=True)


class Sine(nn.Module):
    def __init__(self, inputs, outputs, first, own):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        if own:
            bound = 1 / inputs if first else (6 / inputs) ** 0.5 / 30
            nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x):
        return torch.sin(30 * self.linear(x))


class Field(pl.LightningModule):
    def __init__(self, own):
        super().__init__()
        self.layers = nn.Sequential(Sine(2, 64, True, own), *(Sine(64, 64, False, own) for _ in range(4)))
        self.head = nn.Linear(64, 1)

    def training_step(self, batch, _):
        return F.mse_loss(self.head(self.layers(batch[0])), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-4)


def score(module, loader):
    """The error at the half of the pixels that was not trained on."""
    places, value, seen = picture()
    return float(F.mse_loss(module.head(module.layers(places[~seen])), value[~seen]))


def faulty():
    return Field(False), pixels()


def fixed():
    return Field(True), pixels()
