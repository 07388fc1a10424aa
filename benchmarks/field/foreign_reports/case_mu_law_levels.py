"""Audio in 256 levels of the mu-law; a WaveNet is to guess the next one and gets the levels as numbers, 0 to 255, in the place of the wave they stand for:
the tanh and the sigmoid of its gates are at their ends.
Answer: the level scaled to -1 to 1 (or an embedding).
Asked of on forums about WaveNet's input.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM701",
    "remedies": ("INPUT",),
    "by": 20,
    "beside": "IM701 IM303 IM703 IM302",
    "layers": (),
}
MEASURED = (3.389, 2.284)


def waves():
    g = torch.Generator().manual_seed(0)
    t = torch.arange(97)
    x = sum(
        torch.sin(6 * torch.rand(512, 1, generator=g) + (0.05 + 0.3 * torch.rand(512, 1, generator=g)) * t)
        for _ in range(2)
    )
    x = (0.4 * x).clamp(-1, 1)
    level = ((x.sign() * torch.log1p(255 * x.abs()) / torch.log(torch.tensor(256.0)) + 1) / 2 * 255).round().long()
    return DataLoader(TensorDataset(level), batch_size=32, shuffle=True)


class WaveNet(pl.LightningModule):
    def __init__(self, scaled):
        super().__init__()
        self.scaled = scaled
        self.first = nn.Conv1d(1, 24, 1)
        self.gates = nn.ModuleList(nn.Conv1d(24, 48, 2, dilation=2**i) for i in range(4))
        self.outs = nn.ModuleList(nn.Conv1d(24, 24, 1) for _ in range(4))
        self.head = nn.Sequential(nn.ReLU(), nn.Conv1d(24, 64, 1), nn.ReLU(), nn.Conv1d(64, 256, 1))

    def training_step(self, batch, _):
        level = batch[0]
        x = level[:, None, :-1].float()
        h = self.first(x / 127.5 - 1 if self.scaled else x)
        skip = 0
        for i, (gate, out) in enumerate(zip(self.gates, self.outs)):
            a, b = gate(F.pad(h, (2**i, 0))).chunk(2, 1)
            z = out(torch.tanh(a) * torch.sigmoid(b))
            h, skip = h + z, skip + z
        return F.cross_entropy(self.head(skip), level[:, 1:])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=4e-3, amsgrad=True)


def faulty():
    return WaveNet(False), waves()


def fixed():
    return WaveNet(True), waves()
