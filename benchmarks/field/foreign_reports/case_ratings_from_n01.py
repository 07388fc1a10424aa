"""Ratings of 1 to 5 by the product of a user's and an item's factors, 64 numbers each, as nn.Embedding draws them: the first predictions lie 8 around 0.
Answer: factors of N(0, 0.1), and the mean rating added.
Two embeddings multiplied without scaling them down -- asked of on forums about matrix factorisation in PyTorch.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM703 IM502",
    "remedies": ("INITIALISE", "OUTPUT_SCALE"),
    "by": 50,
    "beside": "IM703 IM502 IM101 IM603",
    "layers": (),
}
MEASURED = (29.27, 0.1406)


def ratings():
    g = torch.Generator().manual_seed(0)
    user, item = torch.randint(0, 300, (24000,), generator=g), torch.randint(0, 200, (24000,), generator=g)
    taste, kind = torch.randn(300, 4, generator=g), torch.randn(200, 4, generator=g)
    stars = (3.5 + 0.5 * (taste[user] * kind[item]).sum(1) + 0.3 * torch.randn(24000, generator=g)).round().clamp(1, 5)
    return DataLoader(TensorDataset(user, item, stars), batch_size=512, shuffle=True)


class Factors(pl.LightningModule):
    def __init__(self, std, mean):
        super().__init__()
        self.users, self.items = nn.Embedding(300, 64), nn.Embedding(200, 64)
        nn.init.normal_(self.users.weight, std=std)
        nn.init.normal_(self.items.weight, std=std)
        self.mean = nn.Parameter(torch.tensor(mean))

    def training_step(self, batch, _):
        user, item, stars = batch
        return F.mse_loss((self.users(user) * self.items(item)).sum(1) + self.mean, stars)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def faulty():
    return Factors(1.0, 0.0), ratings()


def fixed():
    return Factors(0.1, 3.5), ratings()
