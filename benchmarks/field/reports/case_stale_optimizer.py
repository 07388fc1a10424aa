"""The model was made smaller after the optimizer was built: its layers are new ones, the optimizer holds the old.
Answer there: build the optimizer anew.
The parameters are not updated when the pruned model is finetuned -- https://github.com/microsoft/nni/issues/4521
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {"codes": "IM604 IM602", "remedies": ("OPTIMIZER",), "by": 10, "beside": "IM602 IM604", "layers": ()}
MEASURED = (2.303, 0.3771)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Pruned(pl.LightningModule):
    def __init__(self, late):
        super().__init__()
        self.late = late
        self.net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=2e-3)
        for at, (of, to) in {0: (64, 48), 2: (48, 48), 4: (48, 10)}.items():
            smaller = nn.Linear(of, to)
            smaller.weight.data.copy_(self.net[at].weight.data[:to, :of])
            self.net[at] = smaller

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.net.parameters(), lr=2e-3) if self.late else self.optimizer


def faulty():
    return Pruned(False), digits(32)


def fixed():
    return Pruned(True), digits(32)
