"""The network predicts mean and standard deviation; where the target never varies the softplus goes to exactly 0, and the loss divides by it.
Answer there: clamp the deviation from below.
Fix: prevent variance underflow causing NaN losses -- https://github.com/mllam/neural-lam/pull/537
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 260
ANSWER = {"codes": "IM601 IM802", "remedies": ("GUARD",), "by": 215, "beside": "IM601 IM802", "layers": ()}
MEASURED = (float("nan"), -1.257)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Forecast(pl.LightningModule):
    def __init__(self, least):
        super().__init__()
        self.least = least
        self.body = nn.Sequential(nn.Linear(64, 512), nn.Tanh())
        self.mean, self.deviation = nn.Linear(512, 64), nn.Linear(512, 64)

    def training_step(self, batch, _):
        state = batch[0] * (1 + 0.3 * torch.randn_like(batch[0]))
        h = self.body(state)
        mean = state * (1 + 0.1 * self.mean(h))
        deviation = F.softplus(self.deviation(h)).clamp(min=self.least) if self.least else F.softplus(self.deviation(h))
        return -torch.distributions.Normal(mean, deviation, validate_args=False).log_prob(batch[0]).mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def faulty():
    return Forecast(0.0), digits(64)


def fixed():
    return Forecast(0.05), digits(64)
