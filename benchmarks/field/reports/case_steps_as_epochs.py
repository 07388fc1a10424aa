"""StepLR(step_size=7, gamma=0.1), meant in epochs, is stepped with every batch: after thirty batches the rate is nothing.
Answer there: once per epoch.
scheduler.step() per epoch not per batch -- https://github.com/pytorch/tutorials/pull/640
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {"codes": "IM603 IM604", "remedies": ("SCHEDULE", "FASTER"), "by": 130, "beside": "", "layers": ()}
MEASURED = (2.277, 0.1849)


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
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
        return [optimizer], [{"scheduler": schedule, "interval": self.interval}]


def faulty():
    return Net("step"), digits(32)


def fixed():
    return Net("epoch"), digits(32)
