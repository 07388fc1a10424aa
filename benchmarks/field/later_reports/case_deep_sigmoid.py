"""Eight hidden layers of sigmoids by SGD, as in the book's network with more layers: the loss stays at ln 10.
Answer: another activation (ReLU), because each sigmoid passes on a quarter of the gradient at most.
Sigmoid -> ReLU -- https://github.com/aymericdamien/TensorFlow-Examples/pull/146
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM202 IM102",
    "remedies": ("INITIALISE", "ACTIVATION", "NORMALISE"),
    "by": 60,
    "beside": "IM102 IM702 IM303 IM604 IM603",
    "layers": (),
}
MEASURED = (2.319, 0.1631)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Deep(pl.LightningModule):
    def __init__(self, activation):
        super().__init__()
        layers = [nn.Linear(64, 64), activation()]
        for _ in range(7):
            layers += [nn.Linear(64, 64), activation()]
        self.net = nn.Sequential(*layers, nn.Linear(64, 10))
        if activation is nn.ReLU:
            for layer in self.net[::2]:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.9)


def faulty():
    return Deep(nn.Sigmoid), digits(64)


def fixed():
    return Deep(nn.ReLU), digits(64)
