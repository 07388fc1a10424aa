"""A dense detector for rare objects: the last bias starts at -4.6, so that all sigmoids say 1 %, and the focal loss is tiny at first. As in RetinaNet."""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = None  # nothing to be said by a signal monitor


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Heat(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(24, 1, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.constant_(self.head.bias, -4.6)

    def training_step(self, batch, _):
        peaks = ((batch[0] == F.max_pool2d(batch[0], 5, 1, 2)) & (batch[0] > 0.99)).float()
        p = torch.sigmoid(self.head(self.body(batch[0])))
        focal = peaks * 0.25 * (1 - p) ** 2 * torch.log(p + 1e-8) + (1 - peaks) * 0.75 * p**2 * torch.log(1 - p + 1e-8)
        return -focal.sum() / peaks.sum()

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def faulty():
    return Heat(), digits(32, images=True)
