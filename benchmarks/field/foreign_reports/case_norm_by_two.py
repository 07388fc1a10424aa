"""Large scans, so batches of two; the features after pooling go through BatchNorm1d: of two numbers one is always 1 and the other -1.
Answer: a norm that does not look at the batch (LayerNorm, GroupNorm), or larger batches.
BatchNorm does badly with a batch of 2 -- https://github.com/YvanYin/GoalFlow/issues/17, and so for 1 https://github.com/microsoft/CNTK/issues/905
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 800
ANSWER = {
    "codes": "IM503 IM702",
    "remedies": ("NORMALISE", "DATA", "DIMENSION"),
    "by": 60,
    "beside": "IM503 IM702 IM202 IM201",
    "layers": (),
}
MEASURED = (0.8179, 0.08554)


def scans():
    """How much ink there is on a picture."""
    x, _ = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    y = x.mean((1, 2, 3))
    return DataLoader(
        TensorDataset((x - x.mean()) / x.std(), ((y - y.mean()) / y.std())[:, None]), batch_size=2, shuffle=True
    )


class Net(pl.LightningModule):
    def __init__(self, norm):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32, 32), norm(32), nn.ReLU(), nn.Linear(32, 1))

    def training_step(self, batch, _):
        return F.mse_loss(self.head(self.body(batch[0])), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


def faulty():
    return Net(nn.BatchNorm1d), scans()


def fixed():
    return Net(nn.LayerNorm), scans()
