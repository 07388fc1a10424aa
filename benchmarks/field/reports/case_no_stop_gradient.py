"""Two views of a sample through one encoder, the loss is their negative cosine. Without a stop-gradient the loss is -1 at once and all representations are one.
Answer there: detach the target.
There should be a stop gradient in the simsiam model -- https://github.com/PatrickHua/SimSiam/issues/39
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {"codes": "IM702", "remedies": ("COLLAPSE",), "by": 250, "beside": "IM102", "layers": ()}
MEASURED = (0.9922, 0.3281)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class SimSiam(pl.LightningModule):
    def __init__(self, stop):
        super().__init__()
        self.stop = stop
        self.encoder = nn.Sequential(
            nn.Linear(64, 128, bias=False),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Linear(128, 64, bias=False),
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Linear(64, 32),
        )
        self.predictor = nn.Sequential(nn.Linear(32, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 32))

    def training_step(self, batch, _):
        x = batch[0] - 0.3
        first, second = (self.encoder(x + 0.2 * torch.randn_like(x)) for _ in range(2))
        a, b = self.predictor(first), self.predictor(second)
        if self.stop:
            first, second = first.detach(), second.detach()
        return -(F.cosine_similarity(a, second).mean() + F.cosine_similarity(b, first).mean()) / 2

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def faulty():
    return SimSiam(False), digits(64)


def fixed():
    return SimSiam(True), digits(64)


def score(module, loader):
    """1 - the spread of the directions (0: every sample has another direction)."""
    z = F.normalize(module.encoder(loader.dataset.tensors[0] - 0.3), dim=1)
    return z.mean(0).norm()
