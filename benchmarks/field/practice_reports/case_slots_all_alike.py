"""A small DETR: the decoder's queries are zeros and their embeddings were forgotten, so that all queries of a picture give the same place.
Answer: learned query embeddings that differ.
"""

from itertools import permutations

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM501 IM503 IM702",
    "remedies": ("INITIALISE", "DIMENSION", "DATA"),
    "by": 250,
    "beside": "IM501 IM503 IM702 IM202 IM302",
    "layers": (),
}
MEASURED = (0.6043, 0.1043)
ORDERS = torch.tensor(list(permutations(range(3))))


def pictures():
    """Three discs on a picture of 16 x 16, and where they are."""
    generator = torch.Generator().manual_seed(0)
    places = 2 + 12 * torch.rand(2048, 3, 2, generator=generator)
    line = torch.arange(16.0)
    distance = (line[:, None] - places[..., 0, None, None]).square() + (
        line[None, :] - places[..., 1, None, None]
    ).square()
    x = torch.exp(-distance / 3).sum(1, keepdim=True)
    return DataLoader(TensorDataset((x - x.mean()) / x.std(), (places - 8) / 3.5), batch_size=64, shuffle=True)


class Detector(pl.LightningModule):
    def __init__(self, queries, width=48):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, width // 2, 3, 2, 1), nn.ReLU(), nn.Conv2d(width // 2, width, 3, 2, 1), nn.ReLU()
        )
        self.place = nn.Parameter(torch.randn(16, width) * 0.5)
        self.encoder = nn.TransformerEncoderLayer(width, 4, 96, dropout=0, batch_first=True, norm_first=True)
        layer = nn.TransformerDecoderLayer(width, 4, 96, dropout=0, batch_first=True, norm_first=True)
        self.decoder = nn.TransformerDecoder(layer, 2, norm=nn.LayerNorm(width))
        self.queries = nn.Parameter(torch.randn(3, width)) if queries else None
        self.register_buffer("zeros", torch.zeros(3, width))
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, x):
        memory = self.encoder(self.backbone(x).flatten(2).mT + self.place)
        slots = self.zeros if self.queries is None else self.queries
        return self.head(self.decoder(slots.expand(len(x), -1, -1), memory))

    def training_step(self, batch, _):
        found = self(batch[0])
        costs = (found[:, None] - batch[1][:, ORDERS]).abs().mean((2, 3))
        return costs.min(1).values.mean()

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def faulty():
    return Detector(False), pictures()


def fixed():
    return Detector(True), pictures()
