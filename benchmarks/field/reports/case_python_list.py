"""The hidden layers are kept in a Python list, so parameters() does not have them and they are never trained.
Answer there: nn.ModuleList.
Setting a list of Modules does not work like setting a Module, and throws no warning -- https://github.com/pytorch/pytorch/issues/72580
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {"codes": "IM602", "remedies": ("OPTIMIZER",), "by": 60, "beside": "", "layers": ()}
MEASURED = (2.219, 0.4564)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Net(pl.LightningModule):
    def __init__(self, registered):
        super().__init__()
        hidden = [nn.Linear(64, 32), nn.Linear(32, 16), nn.Linear(16, 4)]
        self.hidden = nn.ModuleList(hidden) if registered else hidden
        self.head = nn.Linear(4, 10)

    def training_step(self, batch, _):
        x, y = batch
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        return F.cross_entropy(self.head(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def faulty():
    return Net(False), digits(64)


def fixed():
    return Net(True), digits(64)
