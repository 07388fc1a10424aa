"""The first network picks a symbol with max(...)[1] and the second one classifies from it; the first is never trained.
Answer there: an argmax has no gradient; pass the distribution on.
Backprop through argmax -- https://github.com/pytorch/pytorch/issues/1339
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {"codes": "IM602", "remedies": ("CONNECT",), "by": 20, "beside": "", "layers": ("first*",)}
MEASURED = (2.039, 0.2871)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Two(pl.LightningModule):
    def __init__(self, hard):
        super().__init__()
        self.hard = hard
        self.first = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 12))
        self.symbols = nn.Embedding(12, 16)
        self.second = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10))

    def training_step(self, batch, _):
        out = self.first(batch[0])
        chosen = self.symbols(out.max(1)[1]) if self.hard else out.softmax(1) @ self.symbols.weight
        return F.cross_entropy(self.second(chosen), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.005)


def faulty():
    return Two(True), digits(64)


def fixed():
    return Two(False), digits(64)
