"""nll_loss on what is no log-softmax: the loss is negative and falls without end.
Answer there: cross_entropy, or log_softmax before it.
wrong label loss in PointNetLoss -- https://github.com/yanx27/Pointnet_Pointnet2_pytorch/issues/30
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = None  # nothing to be said by a signal monitor
MEASURED = (7.056, 0.4987)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Net(pl.LightningModule):
    def __init__(self, raw):
        super().__init__()
        self.raw = raw
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch, _):
        out = self.net(batch[0])
        return F.nll_loss(out if self.raw else out.log_softmax(1), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def faulty():
    return Net(True), digits(32)


def fixed():
    return Net(False), digits(32)


def score(module, loader):
    x, y = loader.dataset.tensors
    return F.cross_entropy(module.net(x), y)
