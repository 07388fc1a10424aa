"""Weights in 3 bits with a learned step and a straight-through gradient; the step starts at 1, but the weights are within 0.2, so each of them is rounded to 0.
What was learned of the step in the report: its value makes the quantised network really bad. Answer: start at twice the mean |w| over root(largest level), as the method says.
Questions about step size training in LSQ and LSQ+ -- https://github.com/ZouJiu1/LSQplus/issues/12
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM102 IM503 IM202 IM602 IM702 IM502",
    "remedies": (
        "INITIALISE",
        "OUTPUT_SCALE",
        "CONNECT",
        "NORMALISE",
    ),
    "by": 60,
    "beside": "IM102 IM503 IM202 IM602 IM702 IM502 IM604 IM301 IM302",
    "layers": (),
}
MEASURED = (2.304, 0.2152)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Rounded(nn.Linear):
    """A linear layer of 3-bit weights."""

    def __init__(self, inputs, outputs, start):
        super().__init__(inputs, outputs)
        with torch.no_grad():
            self.step = nn.Parameter(torch.tensor(1.0) if start is None else 2 * self.weight.abs().mean() / 3**0.5)

    def forward(self, x):
        levels = (self.weight / self.step).clamp(-4, 3)
        levels = levels + (levels.round() - levels).detach()
        return F.linear(x, levels * self.step, self.bias)


class Small(pl.LightningModule):
    def __init__(self, start):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(64, 64),
            nn.ReLU(),
            Rounded(64, 64, start),
            nn.ReLU(),
            Rounded(64, 64, start),
            nn.ReLU(),
            nn.Linear(64, 10),
        )

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def faulty():
    return Small(None), digits(64)


def fixed():
    return Small("mean"), digits(64)
