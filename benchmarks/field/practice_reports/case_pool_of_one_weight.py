"""Attention pooling over a text: the scores are [batch, places, 1] and the softmax goes over the last axis, so that each weight is 1 and the scoring layers learn nothing.
Answer: softmax over the places.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM503 IM602 IM202 IM604",
    "remedies": ("DIMENSION",),
    "by": 150,
    "beside": "IM503 IM602 IM202 IM604",
    "layers": ("*attention*", "*score*"),
}
MEASURED = (2.102, 0.01168)


def needles():
    """Of 64 words, each a vector, one is marked; its kind is the class."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randn(10, 15, generator=generator)
    word = torch.randint(0, 10, (4096, 64), generator=generator)
    place = torch.randint(0, 64, (4096,), generator=generator)
    mark = F.one_hot(place, 64).float()[..., None]
    x = torch.cat((kinds[word] + 0.3 * torch.randn(4096, 64, 15, generator=generator), mark), -1)
    return DataLoader(TensorDataset(x, word.gather(1, place[:, None])[:, 0]), batch_size=64, shuffle=True)


class Reader(pl.LightningModule):
    def __init__(self, axis, width=48):
        super().__init__()
        self.embed = nn.Linear(16, width)
        self.body = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)
        self.attention = nn.Sequential(nn.Linear(width, 32), nn.Tanh(), nn.Linear(32, 1))
        self.head, self.axis = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 10)), axis

    def training_step(self, batch, _):
        x = F.relu(self.embed(batch[0]))
        x = x + self.body(x)[0]
        weights = self.attention(x).softmax(self.axis)
        return F.cross_entropy(self.head((weights * x).sum(1)), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


def faulty():
    return Reader(-1), needles()


def fixed():
    return Reader(1), needles()
