"""Gradual unfreezing: for the first 60 batches the body's rate is 0 and only the head learns; then the body joins. As in Howard and Ruder 2018."""

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


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU())
        self.head = nn.Linear(96, 10)

    def training_step(self, batch, _):
        return F.cross_entropy(self.head(self.body(batch[0])), batch[1])

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW([{"params": self.body.parameters()}, {"params": self.head.parameters()}], lr=2e-3)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, [lambda i: float(i >= 60), lambda i: 1.0])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def faulty():
    return Net(), digits(64)
