"""A graph network of 16 rounds, each a mean over all neighbours: at the end every node has the same embedding, and the loss stays.
Said there: features of neighbouring nodes become too similar from excessive aggregation. Answer: fewer rounds, or skips around them.
About over-smoothing -- https://github.com/kenziyuliu/MS-G3D/issues/53
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM702 IM102 IM202",
    "remedies": ("RESIDUAL", "NORMALISE", "COLLAPSE"),
    "by": 60,
    "beside": "IM102 IM202 IM604",
    "layers": (),
}
MEASURED = (1.079, 0.3909)


def graphs():
    g = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (256, 24), generator=g)
    near = torch.where(y[:, :, None] == y[:, None], 0.5, 0.1)
    link = (torch.rand(256, 24, 24, generator=g) < near).float()
    link = ((link + link.transpose(1, 2)) > 0).float() + torch.eye(24)
    x = F.one_hot(y, 3) + 0.8 * torch.randn(256, 24, 3, generator=g)
    return DataLoader(TensorDataset(x, link / link.sum(2, keepdim=True), y), batch_size=16, shuffle=True)


class Rounds(pl.LightningModule):
    def __init__(self, skip):
        super().__init__()
        self.skip = skip
        self.stem = nn.Linear(3, 32)
        self.rounds = nn.ModuleList(nn.Linear(32, 32) for _ in range(16))
        for linear in self.rounds:
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        self.head = nn.Linear(32, 3)

    def training_step(self, batch, _):
        x, link, y = batch
        h = self.stem(x)
        for linear in self.rounds:
            out = F.relu(linear(link @ h))
            h = h + 0.1 * out if self.skip else out
        return F.cross_entropy(self.head(h).flatten(0, 1), y.flatten())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def faulty():
    return Rounds(False), graphs()


def fixed():
    return Rounds(True), graphs()
