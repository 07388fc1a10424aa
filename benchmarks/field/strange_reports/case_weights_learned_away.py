"""Two tasks, each loss multiplied by a learned exp(-s); the term + s that keeps s from growing was left out because it made the loss negative. All s grow, the
weighted loss falls to nothing, and so does what the network gets of it. Asked there: when I removed log_var the loss would be all right.
The loss might be negative value -- https://github.com/yaringal/multi-task-learning-example/issues/6
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM603 IM604 IM202 IM801",
    "remedies": (
        "LOSS_TERM",
        "LOSS_SCALE",
        "FASTER",
    ),
    "by": 350,
    "beside": "IM603 IM604 IM202",
    "layers": (),
}
MEASURED = (2.603, 0.6416)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Two(pl.LightningModule):
    def __init__(self, kept):
        super().__init__()
        self.kept = kept
        self.trunk = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.digit, self.ink = nn.Linear(64, 10), nn.Linear(64, 1)
        self.s = nn.Parameter(torch.zeros(2))

    def losses(self, x, y):
        h = self.trunk(x)
        ink = (x.mean(1) - 0.3) * 10 + 0.5 * torch.randn(len(x))
        return torch.stack([F.cross_entropy(self.digit(h), y), F.mse_loss(self.ink(h).squeeze(1), ink)])

    def training_step(self, batch, _):
        weighted = (-self.s).exp() * self.losses(*batch)
        return (weighted + self.s / 2).sum() if self.kept else weighted.sum()

    def configure_optimizers(self):
        network = [p for name, p in self.named_parameters() if name != "s"]
        return torch.optim.SGD([{"params": network, "lr": 2e-2}, {"params": [self.s]}], lr=5e-2, momentum=0.9)


def faulty():
    return Two(False), digits(64)


def fixed():
    return Two(True), digits(64)


def score(module, loader):
    with torch.no_grad():
        return float(module.losses(*loader.dataset.tensors).sum())
