"""Adam's betas the wrong way round, (0.999, 0.9): a gradient of long ago over the size of the latest ones; the steps grow while the gradient shrinks.
Answer: betas=(0.9, 0.999).
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM603 IM802",
    "remedies": ("MOMENTUM", "SLOWER", "LEARNING_RATE"),
    "by": 250,
    "beside": "IM603 IM802 IM301 IM302 IM703 IM702 IM101",
    "layers": (),
}
MEASURED = (1.175, 0.02197)


def pictures():
    x, y = load_digits(return_X_y=True)
    return DataLoader(
        TensorDataset(torch.tensor(x / 8 - 1, dtype=torch.float32), torch.tensor(y)), batch_size=64, shuffle=True
    )


class Net(pl.LightningModule):
    def __init__(self, betas):
        super().__init__()
        self.betas = betas
        self.net = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 64), nn.GELU(), nn.Linear(64, 10))

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3, betas=self.betas)


def faulty():
    return Net((0.999, 0.9)), pictures()


def fixed():
    return Net((0.9, 0.999)), pictures()
