"""A Transformer whose LambdaLR returns the rate itself (3e-4 and less), though LambdaLR multiplies it with that of the optimizer.
Answer: the lambda returns a factor.
"""

import math

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM603 IM604",
    "remedies": ("SCHEDULE", "FASTER", "LEARNING_RATE"),
    "by": 150,
    "beside": "IM603 IM604",
    "layers": (),
}
MEASURED = (1.744, 0.06127)
RATE = 2e-3


def texts(words=20, length=12):
    """Which of the letters comes most often?"""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, words, (4096, length), generator=generator)
    y = (x < 6).sum(1).clamp(max=5)
    return DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)


class Encoder(pl.LightningModule):
    def __init__(self, absolute, width=48):
        super().__init__()
        self.embed, self.place = nn.Embedding(20, width), nn.Parameter(0.1 * torch.randn(12, width))
        layer = nn.TransformerEncoderLayer(width, 4, 96, dropout=0.1, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 3, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head, self.absolute = nn.Linear(width, 6), absolute

    def training_step(self, batch, _):
        return F.cross_entropy(self.head(self.body(self.embed(batch[0]) + self.place).mean(1)), batch[1])

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=RATE, weight_decay=0.01)

        def share(step):
            return min(1, (step + 1) / 30) * 0.5 * (1 + math.cos(math.pi * min(1, step / STEPS)))

        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, (lambda step: RATE * share(step)) if self.absolute else share
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def faulty():
    return Encoder(True), texts()


def fixed():
    return Encoder(False), texts()
