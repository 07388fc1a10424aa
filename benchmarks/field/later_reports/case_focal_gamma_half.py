"""Focal loss with gamma = 0.5: once a probability is exactly 1, the slope of (1 - p) to the power of 0.5 is infinite and the gradient NaN.
Answer there: an eps inside the power.
NaN gradients on backward pass with focal loss -- https://github.com/kornia/kornia/issues/918
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM601 IM802",
    "remedies": ("GUARD",),
    "by": 200,
    "beside": "IM601 IM802",
    "layers": (),
}
MEASURED = (float("nan"), 0.0001564)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Focal(pl.LightningModule):
    def __init__(self, eps):
        super().__init__()
        self.eps = eps
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def training_step(self, batch, _):
        target = (batch[1] == 0).float()
        p = torch.sigmoid(self.net(batch[0])[:, 0])
        p_true = torch.where(target > 0, p, 1 - p)
        return -((1 - p_true + self.eps) ** 0.5 * torch.log(p_true + 1e-8)).mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def faulty():
    return Focal(0.0), digits(32)


def fixed():
    return Focal(1e-6), digits(32)
