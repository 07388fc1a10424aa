"""A set's context is the mean over its elements; the mean runs over dimension 0, which is the batch: every sample gets one and the same context.
Answer: dim=1. A mean over the batch in the place of the elements, told on forums of DeepSets and of attention pooling alike.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM702",
    "remedies": ("DIMENSION", "DATA"),
    "by": 60,
    "beside": "IM604 IM602 IM102",
    "layers": (),
}
MEASURED = (1.368, 0.0003014)


def sets():
    g = torch.Generator().manual_seed(0)
    centre = 2 * torch.randn(4, 8, generator=g)
    y = torch.randint(0, 4, (2048,), generator=g)
    x = centre[y][:, None] + torch.randn(2048, 32, 8, generator=g)
    return DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True, drop_last=True)


class Sets(pl.LightningModule):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim
        self.phi = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32))
        self.rho = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))

    def training_step(self, batch, _):
        h = self.phi(batch[0])
        context = h.mean(self.dim, keepdim=True).expand_as(h).mean(1)
        return F.cross_entropy(self.rho(context), batch[1])

    def configure_optimizers(self):
        return torch.optim.RMSprop(self.parameters(), lr=1e-3)


def faulty():
    return Sets(0), sets()


def fixed():
    return Sets(1), sets()
