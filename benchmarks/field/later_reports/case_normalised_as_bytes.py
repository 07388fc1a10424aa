"""Pictures of 0 to 1 are normalised with the mean and std of bytes (33 and 79 for 0 to 255): every pixel is -0.42, give or take 0.005.
Answer: divide by the std of what is there.
Do not normalize images two times -- https://github.com/soumith/imagenet-multiGPU.torch/pull/18
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM701",
    "remedies": ("INPUT",),
    "by": 20,
    "beside": "IM702 IM604 IM603 IM102",
    "layers": (),
}
MEASURED = (2.307, 0.0245)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Cnn(pl.LightningModule):
    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = mean, std
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 10),
        )

    def training_step(self, batch, _):
        return F.cross_entropy(self.net((batch[0] - self.mean) / self.std), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def faulty():
    return Cnn(33.0, 79.0), digits(64, images=True)


def fixed():
    return Cnn(33.0 / 255, 79.0 / 255), digits(64, images=True)
