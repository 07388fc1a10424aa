"""A pruned network is trained on: of each weight nine tenths are masked to 0 and stay 0, a ticket that was found before. It is right.
Lottery ticket gradient masking -- https://github.com/Eric-mingjie/rethinking-network-pruning/issues/23
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = None
MEASURED = None


def digits():
    x, y = load_digits(return_X_y=True)
    return DataLoader(
        TensorDataset(torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)), batch_size=64, shuffle=True
    )


def ticket(loader):
    """A network with the weights that it started from and the masks that a first training found."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
    start = [p.detach().clone() for p in net.parameters()]
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for x, y in list(loader) * 5:
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    masks = [p.detach().abs() > p.detach().abs().flatten().quantile(0.9) for p in net.parameters()]
    with torch.no_grad():
        for p, first in zip(net.parameters(), start):
            p.copy_(first)
    for layer, mask in zip((net[0], net[2], net[4]), masks[::2]):
        prune.custom_from_mask(layer, "weight", mask)
    return net


class Pruned(pl.LightningModule):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def faulty():
    loader = digits()
    return Pruned(ticket(loader)), loader
