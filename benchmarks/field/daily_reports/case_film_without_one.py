"""Six layers are modulated by a condition, h * gamma + beta, where the paper has h * (1 + gamma) + beta: the gammas start near 0, so each layer takes nearly all of the signal away.
Answer: add the 1.
"""

from sklearn.datasets import load_digits

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM102 IM402 IM503 IM202 IM702",
    "remedies": ("INITIALISE", "RESIDUAL", "NORMALISE"),
    "by": 100,
    "beside": "IM102 IM402 IM503 IM202 IM702 IM502",
    "layers": (),
}
MEASURED = (1.704, 0.05521)


def digits(flat=True):
    pictures, kinds = load_digits(return_X_y=True)
    x = torch.tensor(pictures, dtype=torch.float32) / 16
    x = (x - x.mean()) / x.std()
    return x if flat else x.view(-1, 1, 8, 8), torch.tensor(kinds)


class Film(nn.Module):
    def __init__(self, one):
        super().__init__()
        self.one = one
        self.linear, self.condition = nn.Linear(64, 64), nn.Linear(8, 128)
        nn.init.normal_(self.condition.weight, std=0.02)
        nn.init.zeros_(self.condition.bias)

    def forward(self, x, c):
        gamma, beta = self.condition(c).chunk(2, 1)
        return F.relu(self.linear(x) * (gamma + self.one) + beta)


class Net(pl.LightningModule):
    """A digit and a shift: what is their sum, modulo 10?"""

    def __init__(self, one):
        super().__init__()
        self.shifts = nn.Embedding(10, 8)
        self.layers = nn.ModuleList([Film(one) for _ in range(6)])
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.linear.weight)
        self.fc = nn.Linear(64, 10)

    def training_step(self, batch, _):
        x, kind = batch
        shift = kind.new_tensor(range(len(kind))) % 2
        c = self.shifts(shift)
        for layer in self.layers:
            x = layer(x, c)
        return F.cross_entropy(self.fc(x), (kind + shift) % 10)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def rows():
    return DataLoader(TensorDataset(*digits()), batch_size=64, shuffle=True)


def faulty():
    return Net(0.0), rows()


def fixed():
    return Net(1.0), rows()
