"""OneCycleLR with steps_per_epoch returned from configure_optimizers without an interval: Lightning steps it once an epoch, so the rate stays at its first, tiny value.
Answer there: interval 'step'.
OneCycleLR updating on epoch rather than on step -- https://github.com/pytorch/pytorch/issues/65417
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 220
ANSWER = {"codes": "IM603 IM604", "remedies": ("SCHEDULE", "FASTER"), "by": 100, "beside": "", "layers": ()}
MEASURED = (2.301, 0.2247)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Net(pl.LightningModule):
    def __init__(self, interval):
        super().__init__()
        self.interval = interval
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=0.1, div_factor=1e4, steps_per_epoch=113, epochs=3
        )
        return [optimizer], [{"scheduler": schedule, "interval": self.interval}]


def faulty():
    return Net("epoch"), digits(16)


def fixed():
    return Net("step"), digits(16)
