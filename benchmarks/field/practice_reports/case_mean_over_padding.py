"""A two-tower recommender: the mean of a user's history is taken over 200 places, of which all but two or three are padding (a zero row), so what is left of the user is a hundredth.
Answer: divide by the number of items that are there (a mask).
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM702 IM102 IM701 IM502",
    "remedies": ("MASK", "INPUT", "NORMALISE"),
    "by": 200,
    "beside": "IM702 IM102 IM701 IM302",
    "layers": (),
}
MEASURED = (0.6537, 0.09134)
ITEMS, TASTES, LONGEST = 400, 8, 200


def histories():
    """A user likes the items of a few tastes; is the next item one of them?"""
    generator = torch.Generator().manual_seed(0)
    taste = torch.randint(0, TASTES, (8192,), generator=generator)
    each = ITEMS // TASTES
    seen = 1 + taste[:, None] * each + torch.randint(0, each, (8192, LONGEST), generator=generator)
    length = torch.randint(2, 4, (8192, 1), generator=generator)
    seen = torch.where(torch.arange(LONGEST) < length, seen, 0)
    liked = torch.rand(8192, generator=generator) < 0.5
    other = (taste + torch.randint(1, TASTES, (8192,), generator=generator)) % TASTES
    item = 1 + torch.where(liked, taste, other) * each + torch.randint(0, each, (8192,), generator=generator)
    return DataLoader(TensorDataset(seen, item, liked.float()), batch_size=256, shuffle=True)


class Towers(pl.LightningModule):
    def __init__(self, masked, width=32):
        super().__init__()
        self.items = nn.Embedding(ITEMS + 1, width, padding_idx=0)
        self.user = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, width))
        self.item = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, width))
        self.masked = masked

    def training_step(self, batch, _):
        seen, item, liked = batch
        history = self.items(seen).sum(1)
        history = history / ((seen > 0).sum(1, keepdim=True) if self.masked else LONGEST)
        logits = (self.user(history) * self.item(self.items(item))).sum(1)
        return F.binary_cross_entropy_with_logits(logits, liked)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


def faulty():
    return Towers(False), histories()


def fixed():
    return Towers(True), histories()
