"""Pictures are divided by 255 in the data set and by 255 once more in the training step, so that their greys end at 0.004: the conv net sees next to nothing, and says the same for every picture.
Answer: divide once.
"""

from sklearn.datasets import load_digits

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM701 IM702",
    "remedies": ("INPUT",),
    "by": 80,
    "beside": "IM701 IM702 IM102",
    "layers": (),
}
MEASURED = (2.304, 0.3638)


class Net(pl.LightningModule):
    def __init__(self, once_more):
        super().__init__()
        self.once_more = once_more
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )

    def training_step(self, batch, _):
        x, kind = batch
        if self.once_more:
            x = x / 255.0
        return F.cross_entropy(self.net(x), kind)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def pictures():
    greys, kinds = load_digits(return_X_y=True)
    bytes_ = torch.tensor(greys * 255 / 16, dtype=torch.float32).round().view(-1, 1, 8, 8)
    return DataLoader(TensorDataset(bytes_ / 255.0, torch.tensor(kinds)), batch_size=64, shuffle=True)


def faulty():
    return Net(True), pictures()


def fixed():
    return Net(False), pictures()
