"""Speech enhancement with norms of masked frames: in a batch with a silent stretch the gradient is NaN, and the weights with it.
Cause there: the root of 0. Answer: an eps inside it.
NaN when back-propagation -- https://github.com/mpariente/pytorch_stoi/issues/7
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 120
ANSWER = {"codes": "IM601 IM802", "remedies": ("GUARD",), "by": 60, "beside": "IM601 IM802", "layers": ()}
MEASURED = (float("nan"), 0.1669)


def waves():
    g = torch.Generator().manual_seed(0)
    clean = torch.sin(torch.rand(1024, 8, 1, generator=g) * torch.arange(16)) * torch.rand(1024, 8, 1, generator=g)
    clean[700:720, 3:] = 0.0
    noisy = clean + 0.3 * torch.randn(clean.shape, generator=g) * (clean.abs().sum(2, keepdim=True) > 0)
    return DataLoader(TensorDataset(noisy, clean), batch_size=16)


class Enhance(pl.LightningModule):
    def __init__(self, eps):
        super().__init__()
        self.eps = eps
        self.mask = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 16), nn.Sigmoid())

    def training_step(self, batch, _):
        noisy, clean = batch
        out = self.mask(noisy) * noisy
        norm = torch.sqrt(out.square().sum(2) + self.eps)
        wanted = torch.sqrt(clean.square().sum(2) + self.eps)
        return F.mse_loss(norm, wanted) + F.mse_loss(out, clean)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def faulty():
    return Enhance(0.0), waves()


def fixed():
    return Enhance(1e-8), waves()
