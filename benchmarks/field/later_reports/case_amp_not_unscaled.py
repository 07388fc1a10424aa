"""The loss is multiplied for mixed precision, as a gradient scaler does, and nobody divides the gradients again before the step of SGD.
Said there: the gradients are 1024 times as large as they should be. Answer: unscale them, or leave the factor out.
Gradient Scaler in sample -- https://github.com/nerfstudio-project/nerfacc/issues/307
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM603 IM201 IM802 IM601",
    "remedies": ("SLOWER", "LOSS_SCALE"),
    "by": 20,
    "beside": "IM301 IM101 IM303 IM703 IM604 IM702 IM202 IM602",
    "layers": (),
}
MEASURED = (123.7, 0.07882)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Net(pl.LightningModule):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor
        self.net = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 10))

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1]) * self.factor

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def faulty():
    return Net(1024.0), digits(64)


def fixed():
    return Net(1.0), digits(64)


def score(module, loader):
    x, y = loader.dataset.tensors
    return F.cross_entropy(module.net(x), y)
