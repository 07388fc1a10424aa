"""The data lies sorted by its labels and the loader does not shuffle: whole stretches of batches have one class only.
Answer there: shuffle.
shuffling the dataset -- https://github.com/zalandoresearch/fashion-mnist/pull/5
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 225
ANSWER = None  # nothing to be said by a signal monitor
MEASURED = (2.915, 0.06906)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def sorted_digits(shuffle):
    x, y = load_digits(return_X_y=True)
    order = y.argsort(kind="stable")
    data = TensorDataset(torch.tensor(x[order] / 16, dtype=torch.float32), torch.tensor(y[order]))
    return DataLoader(data, batch_size=32, shuffle=shuffle)


def faulty():
    return Net(), sorted_digits(False)


def fixed():
    return Net(), sorted_digits(True)


def score(module, loader):
    x, y = loader.dataset.tensors
    return F.cross_entropy(module.net(x), y)
