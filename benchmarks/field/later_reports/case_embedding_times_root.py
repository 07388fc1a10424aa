"""The embedding, N(0, 1) already, is multiplied by the root of its 256 dimensions, as in transformers, in front of a GRU: its gates are shut or open.
Asked there: what does this code do? (It makes up for embeddings of std 1/root(d); there is no such need here.) Answer: leave it out.
enc *= d_model**0.5 -- https://github.com/Kyubyong/transformer/issues/130
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM303 IM101 IM701 IM502 IM703 IM603",
    "remedies": ("INITIALISE", "INPUT", "NORMALISE", "OUTPUT_SCALE"),
    "by": 60,
    "beside": "IM303 IM101 IM201 IM701 IM502 IM703 IM603",
    "layers": (),
}
MEASURED = (1.458, 0.2332)


def texts():
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 40, (4096, 12), generator=g)
    return DataLoader(TensorDataset(x, (x < 8).sum(1).clamp(max=4)), batch_size=64, shuffle=True)


class Reader(pl.LightningModule):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor
        self.embedding, self.gru, self.head = nn.Embedding(40, 256), nn.GRU(256, 48, batch_first=True), nn.Linear(48, 5)

    def training_step(self, batch, _):
        out, _state = self.gru(self.embedding(batch[0]) * self.factor)
        return F.cross_entropy(self.head(out[:, -1]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def faulty():
    return Reader(16.0), texts()


def fixed():
    return Reader(1.0), texts()
