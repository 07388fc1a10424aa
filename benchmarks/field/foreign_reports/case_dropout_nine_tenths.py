"""A wide layer with dropout of 0.9 in front of the last one, as some do with few samples: one unit in ten is there at a time. It is meant so."""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = None  # nothing to be said by a signal monitor


def wines():
    x, y = load_wine(return_X_y=True)
    x = torch.tensor(x, dtype=torch.float32)
    return DataLoader(TensorDataset((x - x.mean(0)) / x.std(0), torch.tensor(y)), batch_size=16, shuffle=True)


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(13, 1024), nn.ReLU(), nn.Dropout(0.9), nn.Linear(1024, 3))

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.NAdam(self.parameters(), lr=1e-3)


def faulty():
    return Net(), wines()
