"""Every block gets the sum of all earlier outputs, its own included, in the place of a concatenation as in DenseNet: the sum doubles with each of 14 blocks.
Answer: concatenate, or divide by their number (or normalise).
Told of home-made dense connections on forums; the growth is that of a sum of copies.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM401 IM101 IM703 IM201",
    "remedies": ("RESIDUAL", "NORMALISE", "INITIALISE"),
    "by": 10,
    "beside": "IM401 IM101 IM703 IM201 IM603 IM601",
    "layers": (),
}
MEASURED = (float("nan"), 0.692)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Dense(pl.LightningModule):
    def __init__(self, mean):
        super().__init__()
        self.mean = mean
        self.stem = nn.Linear(64, 64)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(14))
        for block in self.blocks:
            nn.init.kaiming_normal_(block[0].weight, nonlinearity="relu")
        self.head = nn.Linear(64, 10)

    def training_step(self, batch, _):
        outputs = [self.stem(batch[0])]
        for block in self.blocks:
            total = torch.stack(outputs).sum(0)
            outputs.append(block(total / len(outputs) ** 0.5 if self.mean else total))
        last = torch.stack(outputs).sum(0)
        return F.cross_entropy(self.head(last / len(outputs) if self.mean else last), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.9)


def faulty():
    return Dense(False), digits(64)


def fixed():
    return Dense(True), digits(64)
