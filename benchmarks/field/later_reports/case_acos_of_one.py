"""Angles between all embeddings of a batch by acos of their cosines, clamped to [-1, 1]; on the diagonal the cosine is 1, where acos has no slope.
Answer there: clamp to [-1 + eps, 1 - eps].
About Nan error using acos() function -- https://github.com/pytorch/pytorch/issues/8069
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM601 IM802",
    "remedies": ("GUARD",),
    "by": 10,
    "beside": "IM601 IM802",
    "layers": (),
}
MEASURED = (float("nan"), 0.1193)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Angles(pl.LightningModule):
    def __init__(self, eps):
        super().__init__()
        self.eps = eps
        self.net = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 16))

    def training_step(self, batch, _):
        z = F.normalize(self.net(batch[0]), dim=1)
        angle = torch.acos((z @ z.t()).clamp(-1 + self.eps, 1 - self.eps))
        same = batch[1][:, None] == batch[1]
        wanted = torch.where(same, 0.0, 1.57)
        off = ~torch.eye(len(z), dtype=torch.bool)
        return ((angle - wanted).square() * off).sum() / off.sum()

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def faulty():
    return Angles(0.0), digits(48)


def fixed():
    return Angles(1e-6), digits(48)
