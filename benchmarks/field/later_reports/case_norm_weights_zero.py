"""Every batch norm's weight starts at 0, as is done with the last one of a residual branch, but the net has no skips: nothing comes through.
Asked there of the same start: would they not compute the same gradients? Answer: only in front of an addition.
batch norm initialization -- https://github.com/AlexHex7/Non-local_pytorch/issues/1
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM102 IM501 IM503 IM602 IM604 IM301",
    "remedies": ("INITIALISE",),
    "by": 10,
    "beside": "IM102 IM202 IM501 IM503 IM602 IM604 IM301 IM702",
    "layers": (),
}
MEASURED = (2.305, 0.005841)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Cnn(pl.LightningModule):
    def __init__(self, zero):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Linear(128, 10)
        if zero:
            nn.init.zeros_(self.features[1].weight)
            nn.init.zeros_(self.features[5].weight)

    def training_step(self, batch, _):
        return F.cross_entropy(self.classifier(self.features(batch[0]).flatten(1)), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, nesterov=True)


def faulty():
    return Cnn(True), digits(128, images=True)


def fixed():
    return Cnn(False), digits(128, images=True)
