"""The model was put into eval() for a first check and never back into train(): its batch norms use the running mean 0 and variance 1 and never
learn them, so a deep net trains as if it had no normalisation. Answer: train() before the training.
BatchNorm behaves different in train() and eval() -- https://github.com/pytorch/pytorch/issues/5406
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM102 IM202",
    "remedies": ("NORMALISE", "INITIALISE"),
    "by": 60,
    "beside": "IM202 IM102 IM603 IM702 IM604",
    "layers": (),
}
MEASURED = (2.305, 0.1365)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Cnn(pl.LightningModule):
    def __init__(self, forgot):
        super().__init__()
        self.forgot = forgot
        layers = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
        for _ in range(11):
            layers += [nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        self.features, self.head = nn.Sequential(*layers), nn.Linear(16, 10)

    def on_train_epoch_start(self):
        if self.forgot:
            self.eval()

    def training_step(self, batch, _):
        return F.cross_entropy(self.head(self.features(batch[0]).mean((2, 3))), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def faulty():
    return Cnn(True), digits(64, images=True)


def fixed():
    return Cnn(False), digits(64, images=True)
