"""A ResNet whose block adds its input, and whose stage adds the block's input again (a skip written twice): the stream doubles with every block.
Answer: one skip.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM401 IM101",
    "remedies": ("RESIDUAL",),
    "by": 60,
    "beside": "IM401 IM101 IM703 IM402 IM201 IM601",
    "layers": (),
}
MEASURED = (float("nan"), 0.0886)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x):
        return x + self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))


class ResNet(pl.LightningModule):
    def __init__(self, twice, width=24, depth=10):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.head, self.twice = nn.Linear(width, 10), twice

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x) if self.twice else block(x)
        return self.head(F.relu(x).mean((2, 3)))

    def training_step(self, batch, _):
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.9)


def digits():
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    return DataLoader(
        TensorDataset((x - x.mean()) / x.std(), torch.tensor(y)), batch_size=32, shuffle=True, drop_last=True
    )


def faulty():
    return ResNet(True), digits()


def fixed():
    return ResNet(False), digits()
