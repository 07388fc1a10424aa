"""AMSGrad, and one broken batch in the third step whose targets are a million times too large: the largest second moment is kept for ever, so every
step from then on is next to nothing.
Answer: clip the gradient (or Adam, which forgets), and mend the data.
Training that stops after a spike with amsgrad=True: asked of on forums.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM603 IM604",
    "remedies": ("OPTIMIZER", "CLIP", "FASTER", "LEARNING_RATE", "DATA", "TARGET", "MOMENTUM"),
    "by": 120,
    "beside": "IM603 IM604",
    "layers": (),
}
MEASURED = (1.279, 0.357)


def rows():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2400, 12, generator=g)
    y = torch.sin(x[:, :1]) + x[:, 1:2] * x[:, 2:3] + 0.1 * torch.randn(2400, 1, generator=g)
    y[24:36] *= 1e6
    return DataLoader(TensorDataset(x, y), batch_size=12)


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))

    def training_step(self, batch, _):
        return F.mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3, amsgrad=True)


def faulty():
    return Net(), rows()


def fixed():
    return Net(), rows(), {"gradient_clip_val": 1.0}
