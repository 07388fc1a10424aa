"""Few-shot learning: five classes with one example each, and the distances to these are the logits; there is no last layer, and every batch has other classes."""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

SEED, STEPS = 0, 120
ANSWER = None  # nothing to be said by a signal monitor


class Episodes(Dataset):
    def __init__(self):
        x, y = load_digits(return_X_y=True)
        self.x = torch.tensor(x / 8 - 0.6, dtype=torch.float32).view(-1, 1, 8, 8)
        self.of_class = [torch.tensor((y == c).nonzero()[0]) for c in range(10)]

    def __len__(self):
        return 400

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i)
        classes = torch.randperm(10, generator=g)[:5]
        picked = [self.of_class[c][torch.randperm(len(self.of_class[c]), generator=g)[:6]] for c in classes.tolist()]
        return self.x[torch.stack(picked)]  # [5, 6, 1, 8, 8]: the first of the six is the example


class Prototypes(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        )  # fmt: skip

    def training_step(self, batch, _):
        z = self.net(batch.flatten(0, 1)).view(5, 6, -1)
        logits = -torch.cdist(z[:, 1:].flatten(0, 1), z[:, 0]).square()
        return F.cross_entropy(logits, torch.arange(5).repeat_interleave(5))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def faulty():
    return Prototypes(), DataLoader(Episodes(), batch_size=None, shuffle=True)
