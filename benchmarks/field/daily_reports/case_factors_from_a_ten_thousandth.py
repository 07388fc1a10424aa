"""Ratings are the products of a user's and a film's factors, both drawn with a deviation of 1e-4, to begin near the mean: the gradient of each is the other, so SGD stands at the start for as long as one waits.
Answer: draw them with 0.1.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM603 IM604 IM502 IM102 IM202",
    "remedies": ("INITIALISE", "FASTER", "LEARNING_RATE", "OUTPUT_SCALE"),
    "by": 200,
    "beside": "IM603 IM604 IM502 IM102 IM202 IM402",
    "layers": (),
}
MEASURED = (0.8785, 0.1857)


class Factors(pl.LightningModule):
    def __init__(self, deviation):
        super().__init__()
        self.users, self.films = nn.Embedding(120, 8), nn.Embedding(80, 8)
        nn.init.normal_(self.users.weight, std=deviation)
        nn.init.normal_(self.films.weight, std=deviation)

    def training_step(self, batch, _):
        user, film, rating = batch
        return F.mse_loss((self.users(user) * self.films(film)).sum(1), rating)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def ratings():
    """Ratings around their mean, of users and films with three tastes."""
    generator = torch.Generator().manual_seed(0)
    full = torch.randn(120, 3, generator=generator) @ torch.randn(3, 80, generator=generator) / 3**0.5
    full = full + 0.1 * torch.randn(120, 80, generator=generator)
    user, film = torch.meshgrid(torch.arange(120), torch.arange(80), indexing="ij")
    return DataLoader(TensorDataset(user.flatten(), film.flatten(), full.flatten()), batch_size=256, shuffle=True)


def faulty():
    return Factors(1e-4), ratings()


def fixed():
    return Factors(0.1), ratings()
