"""The training loop never zeroes the gradients, so every step is taken with the sum of all gradients so far.
Answer there: optimizer.zero_grad().
need zero_grad -- https://github.com/IDEA-Research/DN-DETR/issues/19
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM603 IM802 IM201",
    "remedies": ("ZERO_GRADIENTS",),
    "by": 120,
    "beside": "IM603 IM301 IM703",
    "layers": (),
}
MEASURED = (2.664, 0.3644)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Net(pl.LightningModule):
    def __init__(self, zero):
        super().__init__()
        self.automatic_optimization = False
        self.zero = zero
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch, _):
        optimizer = self.optimizers()
        if self.zero:
            optimizer.zero_grad()
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.manual_backward(loss)
        optimizer.step()
        return loss.detach()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def faulty():
    return Net(False), digits(32)


def fixed():
    return Net(True), digits(32)
