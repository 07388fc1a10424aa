"""A ConvNeXt whose last LayerNorm is over height and width instead of the channels; then comes the mean over height and width, which is 0 for every picture.
Answer: norm over the channels.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM702 IM503 IM102",
    "remedies": ("NORMALISE", "DIMENSION"),
    "by": 100,
    "beside": "IM702 IM503 IM102 IM202 IM604 IM602",
    "layers": (),
}
MEASURED = (1.255, 0.5668)


class ChannelNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.mix = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x):
        h = self.norm(self.mix(x).permute(0, 2, 3, 1))
        return x + (self.scale * self.narrow(F.gelu(self.wide(h)))).permute(0, 3, 1, 2)


class ConvNeXt(pl.LightningModule):
    def __init__(self, norm, width=24):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 2, 2), ChannelNorm(width))
        self.blocks = nn.Sequential(*(Block(width) for _ in range(4)))
        self.norm, self.head = norm, nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.stem(x))).mean((2, 3)))

    def training_step(self, batch, _):
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def digits():
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    return DataLoader(
        TensorDataset((x - x.mean()) / x.std(), torch.tensor(y)), batch_size=64, shuffle=True, drop_last=True
    )


def faulty():
    return ConvNeXt(nn.LayerNorm((4, 4))), digits()


def fixed():
    return ConvNeXt(ChannelNorm(24)), digits()
