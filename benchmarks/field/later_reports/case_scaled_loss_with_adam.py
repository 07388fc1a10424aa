"""The loss is multiplied by 1024 for mixed precision and never divided again, with Adam: the step is the same whatever the factor.
Said there: it leads to better performance, empirically. (The same report as for SGD, whose step is not the same.)
Gradient Scaler in sample -- https://github.com/nerfstudio-project/nerfacc/issues/307
"""

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
        self.net = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 10))

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1]) * 1024

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def faulty():
    return Net(), digits(64)


def score(module, loader):
    x, y = loader.dataset.tensors
    return F.cross_entropy(module.net(x), y)
