"""nn.LeakyReLU(True), meant to work in place: its first argument is the slope for negative inputs, and a slope of 1 is no activation at all. All layers together are one linear map.
Answer: nn.LeakyReLU(inplace=True).
nn.LeakyReLU(True) should be nn.LeakyReLU(inplace=True) -- https://github.com/PantoMatrix/PantoMatrix/issues/52
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM302 IM503",
    "remedies": ("ACTIVATION",),
    "by": 300,
    "beside": "IM302 IM503",
    "layers": (),
}
MEASURED = (1.094, 0.0001944)


def rings():
    """Which of three rings around the origin a point is on, in 8 dimensions."""
    g = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (2048,), generator=g)
    x = F.normalize(torch.randn(2048, 8, generator=g), dim=1) * (
        1 + y[:, None] + 0.1 * torch.randn(2048, 1, generator=g)
    )
    return DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)


class Net(pl.LightningModule):
    def __init__(self, slope):
        super().__init__()
        sizes = (8, 64, 64, 64)
        self.net = nn.Sequential(
            *(part for a, b in zip(sizes, sizes[1:]) for part in (nn.Linear(a, b), nn.LeakyReLU(slope))),
            nn.Linear(64, 3),
        )

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def faulty():
    return Net(slope=True), rings()


def fixed():
    return Net(slope=0.01), rings()
