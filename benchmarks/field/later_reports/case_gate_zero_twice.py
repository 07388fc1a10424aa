"""A branch comes in through a gate, tanh(W2 relu(W1 x)); to start at 0, both W1 and W2 are 0. Each one's gradient is a product with the other,
so the gate never opens and what it was to let in is never used. Asked there: why would that work? Answer: only the last one at 0.
About zero initialization -- https://github.com/yz93/LAVT-RIS/issues/25
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM602 IM301 IM501 IM503 IM102 IM202 IM402",
    "remedies": ("INITIALISE",),
    "by": 60,
    "beside": "IM602 IM301 IM501 IM503 IM102 IM202 IM402 IM604",
    "layers": (),
}
MEASURED = (1.624, 0.1892)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Fused(pl.LightningModule):
    """The label is in the second input; the first one is noise with a hint."""

    def __init__(self, both):
        super().__init__()
        self.first, self.second = nn.Linear(64, 48), nn.Linear(64, 48)
        self.gate = nn.Sequential(nn.Linear(48, 48, bias=False), nn.ReLU(), nn.Linear(48, 48, bias=False), nn.Tanh())
        nn.init.zeros_(self.gate[2].weight)
        if both:
            nn.init.zeros_(self.gate[0].weight)
        self.head = nn.Linear(48, 10)

    def training_step(self, batch, _):
        hint = F.relu(self.first(batch[0] + torch.randn_like(batch[0])))
        seen = F.relu(self.second(batch[0]))
        return F.cross_entropy(self.head(hint + self.gate(seen) * seen), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=5e-3)


def faulty():
    return Fused(True), digits(32)


def fixed():
    return Fused(False), digits(32)
