"""Distillation: F.kl_div gets the student's probabilities where it wants their logarithm. The loss is below 0 and falls, the student learns the likeliest class and nothing of how sure the
teacher is. Nothing of the signal is wrong. Answer there: should be log_softmax.
The kl_div loss of self distillation -- https://github.com/microsoft/ProDA/issues/43
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = None
MEASURED = (2.052, 0.00165)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


def taught():
    """Digits with the soft answer of a teacher that knows the mean pictures."""
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    means = torch.stack([x[y == k].mean(0) for k in range(10)])
    return DataLoader(
        TensorDataset(x, torch.softmax(-torch.cdist(x, means).square() / 2, 1)), batch_size=64, shuffle=True
    )


class Student(pl.LightningModule):
    def __init__(self, logarithm):
        super().__init__()
        self.logarithm = logarithm
        self.net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))

    def training_step(self, batch, _):
        out = self.net(batch[0])
        return F.kl_div(F.log_softmax(out, 1) if self.logarithm else F.softmax(out, 1), batch[1], reduction="batchmean")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def faulty():
    return Student(False), taught()


def fixed():
    return Student(True), taught()


def score(module, loader):
    """KL divergence of student from teacher."""
    x, soft = loader.dataset.tensors
    with torch.no_grad():
        return float(F.kl_div(F.log_softmax(module.net(x), 1), soft, reduction="batchmean"))
