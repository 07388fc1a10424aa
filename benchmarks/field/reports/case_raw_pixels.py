"""A convolutional net on pixels of 0 to 255 with SGD. Said there: without batch normalisation the input's normalisation is the difference between a loss that goes down and one that does not.
Do not normalize images two times -- https://github.com/soumith/imagenet-multiGPU.torch/pull/18
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {"codes": "IM701", "remedies": ("INPUT",), "by": 20, "beside": "IM603 IM703 IM301", "layers": ()}
MEASURED = (2.307, 0.02253)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Cnn(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch, _):
        return F.cross_entropy(self.classifier(self.features(batch[0]).flatten(1)), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def faulty():
    return Cnn(), digits(64, scale=16 / 255, images=True)


def fixed():
    loader = digits(64, images=True)
    x, y = loader.dataset.tensors
    return Cnn(), DataLoader(TensorDataset((x - x.mean()) / x.std(), y), batch_size=64, shuffle=True)
