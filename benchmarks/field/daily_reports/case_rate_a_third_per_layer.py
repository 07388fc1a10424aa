"""Fine-tuning with a rate that is a third of the next layer's for each layer towards the input, so that the first moves by a thousandth of what the head does. It is meant so."""

from sklearn.datasets import load_digits

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = None


def digits(flat=True):
    pictures, kinds = load_digits(return_X_y=True)
    x = torch.tensor(pictures, dtype=torch.float32) / 16
    x = (x - x.mean()) / x.std()
    return x if flat else x.view(-1, 1, 8, 8), torch.tensor(kinds)


class Net(pl.LightningModule):
    """A network that knows even from odd learns the digits."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, 64) for _ in range(6)])
        self.head = nn.Linear(64, 10)
        self.learn_parity()

    def body(self, x):
        for layer in self.layers:
            x = x + F.relu(layer(x)) / 2
        return x

    def learn_parity(self):
        x, kind = digits()
        parity = nn.Linear(64, 2)
        optimizer = torch.optim.Adam([*self.layers.parameters(), *parity.parameters()], lr=1e-3)
        for _ in range(100):
            optimizer.zero_grad()
            F.cross_entropy(parity(self.body(x)), kind % 2).backward()
            optimizer.step()

    def training_step(self, batch, _):
        x, kind = batch
        return F.cross_entropy(self.head(self.body(x)), kind)

    def configure_optimizers(self):
        groups = [
            {"params": layer.parameters(), "lr": 3e-3 / 3 ** (len(self.layers) - place)}
            for place, layer in enumerate(self.layers)
        ]
        return torch.optim.AdamW([*groups, {"params": self.head.parameters(), "lr": 3e-3}])


def faulty():
    return Net(), DataLoader(TensorDataset(*digits()), batch_size=64, shuffle=True)
