"""Activation checkpointing (the reentrant kind) around the first block, whose input needs no gradient: the block's weights never get one.
Answer there: use_reentrant=False, or let the input require a gradient.
checkpoint_wrapper at the first block disabling gradients -- https://github.com/facebookresearch/fairseq/issues/3583
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM602",
    "remedies": ("CONNECT",),
    "by": 20,
    "beside": "",
    "layers": ("first*",),
}
MEASURED = (1.556, 0.635)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Net(pl.LightningModule):
    def __init__(self, reentrant):
        super().__init__()
        self.reentrant = reentrant
        self.first = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4))
        self.second = nn.Sequential(nn.Flatten(), nn.Linear(32, 32), nn.ReLU())
        self.head = nn.Linear(32, 10)

    def training_step(self, batch, _):
        h = checkpoint(self.first, batch[0], use_reentrant=self.reentrant)
        h = checkpoint(self.second, h, use_reentrant=False)
        return F.cross_entropy(self.head(h), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def faulty():
    return Net(True), digits(64, images=True)


def fixed():
    return Net(False), digits(64, images=True)
