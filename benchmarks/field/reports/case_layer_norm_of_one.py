"""A normalisation is put in front of each of the table's columns; a LayerNorm over one number gives 0 whatever it gets.
Answer there: that is what it has to give; normalise over the batch or not at all.
nn.LayerNorm outputs zeros for single column batch -- https://github.com/pytorch/pytorch/issues/108956
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM503",
    "remedies": ("NORMALISE", "DIMENSION"),
    "by": 10,
    "beside": "IM602 IM604 IM702 IM102",
    "layers": (),
}
MEASURED = (1.477, 0.0997)


class Table(pl.LightningModule):
    def __init__(self, norm):
        super().__init__()
        self.columns = nn.ModuleList([nn.Sequential(norm(1), nn.Linear(1, 16), nn.ReLU()) for _ in range(8)])
        self.out = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1))

    def training_step(self, batch, _):
        x, y = batch
        parts = [column(x[:, k : k + 1]) for k, column in enumerate(self.columns)]
        return F.mse_loss(self.out(torch.cat(parts, 1)), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def rows():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2048, 8, generator=g)
    return DataLoader(TensorDataset(x, x[:, :1] + (x[:, 1:2] * 2).sin()), batch_size=64, shuffle=True)


def faulty():
    return Table(nn.LayerNorm), rows()


def fixed():
    return Table(nn.BatchNorm1d), rows()
