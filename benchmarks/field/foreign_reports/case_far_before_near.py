"""Attention with a linear bias in the place of positions, and the distance has the wrong sign: the farther a word, the more it counts, by up to
0.5 times 95. Every row looks at the first words only.
Answer: the other sign.
The sign of ALiBi's bias -- https://github.com/meta-pytorch/attention-gym/pull/86
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 100
ANSWER = {
    "codes": "IM304",
    "remedies": ("ATTENTION", "MASK", "OUTPUT_SCALE", "SIGN"),
    "by": 50,
    "beside": "IM304",
    "layers": (),
}
MEASURED = (1.974, 0.5581)


def texts():
    """Each word follows from the one two places before it, but for one in ten."""
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 11, (768, 97), generator=g)
    for i in range(2, 97):
        kept = torch.rand(768, generator=g) < 0.9
        x[kept, i] = (3 * x[kept, i - 2] + 1) % 11
    return DataLoader(TensorDataset(x), batch_size=24, shuffle=True)


class Block(nn.Module):
    def __init__(self, width, sign):
        super().__init__()
        self.sign = sign
        self.norm, self.other_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        n, t, width = x.shape
        q, k, v = self.qkv(self.norm(x)).view(n, t, 3, 8, width // 8).permute(2, 0, 3, 1, 4)
        i = torch.arange(t)
        slope = 2.0 ** -torch.arange(1, 9)
        bias = self.sign * slope[:, None, None] * (i[:, None] - i)
        bias = bias.masked_fill(i[:, None] < i, -torch.inf)
        rows = torch.softmax(q @ k.transpose(-1, -2) / (width // 8) ** 0.5 + bias, -1)
        x = x + self.out((rows @ v).transpose(1, 2).reshape(n, t, width))
        return x + self.mlp(self.other_norm(x))


class Model(pl.LightningModule):
    def __init__(self, sign):
        super().__init__()
        self.words = nn.Embedding(11, 48)
        self.blocks = nn.Sequential(Block(48, sign), Block(48, sign))
        self.norm, self.head = nn.LayerNorm(48), nn.Linear(48, 11)

    def training_step(self, batch, _):
        x, y = batch[0][:, :-1], batch[0][:, 1:]
        return F.cross_entropy(self.head(self.norm(self.blocks(self.words(x)))).flatten(0, 1), y.flatten())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=3e-3, betas=(0.9, 0.95))


def faulty():
    return Model(1.0), texts()


def fixed():
    return Model(-1.0), texts()
