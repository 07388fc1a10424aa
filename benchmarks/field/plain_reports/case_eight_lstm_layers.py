"""Eight LSTM layers above each other: whatever the sequence is, the output is the same, and the loss stays at the variance of the labels.
Answer: two layers (or skips between them).
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM102 IM702 IM202",
    "remedies": ("RESIDUAL", "NORMALISE", "INITIALISE"),
    "by": 150,
    "beside": "IM102 IM702 IM202 IM502",
    "layers": (),
}
MEASURED = (0.8322, 0.01306)


def waves():
    """Which of four frequencies is it?"""
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(0, 4, (2048,), generator=generator)
    phase = 6.28 * torch.rand(2048, 1, generator=generator)
    time = torch.arange(20.0)
    x = torch.sin((kind[:, None] + 1) * 0.35 * time + phase) + 0.1 * torch.randn(2048, 20, generator=generator)
    return DataLoader(TensorDataset(x[..., None], kind), batch_size=64, shuffle=True)


class Reader(pl.LightningModule):
    def __init__(self, layers):
        super().__init__()
        self.lstm = nn.LSTM(1, 32, num_layers=layers, batch_first=True)
        self.fc = nn.Linear(32, 4)

    def training_step(self, batch, _):
        x, kind = batch
        out, _ = self.lstm(x)
        return F.cross_entropy(self.fc(out[:, -1]), kind)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def faulty():
    return Reader(8), waves()


def fixed():
    return Reader(2), waves()
