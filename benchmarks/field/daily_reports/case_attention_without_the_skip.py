"""Eight blocks of attention and MLP written by hand, in which x = x + ... was forgotten both times: behind a few of them all places of a text say the same, and the loss stays where it began.
Answer: add the input of each part to its output.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM102 IM702 IM202 IM602 IM401 IM402",
    "remedies": ("RESIDUAL", "NORMALISE", "INITIALISE"),
    "by": 200,
    "beside": "IM102 IM702 IM202 IM502",
    "layers": (),
}
MEASURED = (2.493, 0.03354)


WIDTH = 48


def texts():
    """Which of the first tokens comes again at the end?"""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 12, (4096, 10), generator=generator)
    answer = (tokens[:, 0] + tokens[:, 1]) % 12
    return DataLoader(TensorDataset(tokens, answer), batch_size=64, shuffle=True)


class Block(nn.Module):
    def __init__(self, skip):
        super().__init__()
        self.skip = skip
        self.attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 96), nn.GELU(), nn.Linear(96, WIDTH))
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x):
        h = self.first(x)
        h, _ = self.attention(h, h, h, need_weights=False)
        x = x + h if self.skip else h
        h = self.mlp(self.second(x))
        return x + h if self.skip else h


class Reader(pl.LightningModule):
    def __init__(self, skip):
        super().__init__()
        self.tokens, self.places = nn.Embedding(12, WIDTH), nn.Parameter(0.5 * torch.randn(10, WIDTH))
        self.blocks = nn.Sequential(*[Block(skip) for _ in range(8)])
        self.norm, self.fc = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 12)

    def training_step(self, batch, _):
        tokens, answer = batch
        return F.cross_entropy(self.fc(self.norm(self.blocks(self.tokens(tokens) + self.places)))[:, 0], answer)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def faulty():
    return Reader(False), texts()


def fixed():
    return Reader(True), texts()
