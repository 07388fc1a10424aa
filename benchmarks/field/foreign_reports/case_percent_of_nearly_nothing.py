"""Changes in percent of one column to the next, x / x before - 1, where the series crosses 0: most are around 1, some are in the hundred thousands.
Answer: differences instead of percent (or the logarithm, or a clip).
Infinite and giant values of pct_change where the value before is next to 0: asked of on forums about returns and demand.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM701",
    "remedies": ("INPUT", "DATA", "CLIP", "GUARD"),
    "by": 20,
    "beside": "IM701 IM703 IM601 IM603 IM101",
    "layers": (),
}
MEASURED = (0.7919, 0.01182)


def series(percent):
    g = torch.Generator().manual_seed(0)
    phase, pace = 6 * torch.rand(4096, 1, generator=g), 0.2 + 0.4 * torch.rand(4096, 1, generator=g)
    x = torch.sin(phase + pace * torch.arange(26)) + 0.02 * torch.randn(4096, 26, generator=g)
    change = x[:, 1:] / x[:, :-1] - 1 if percent else x[:, 1:] - x[:, :-1]
    y = x[:, 25:] - x[:, 24:25]
    return DataLoader(TensorDataset(change[:, :24], y / y.std()), batch_size=256, shuffle=True)


class Forecaster(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(24, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 1))

    def training_step(self, batch, _):
        return F.huber_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


def faulty():
    return Forecaster(), series(True)


def fixed():
    return Forecaster(), series(False)
