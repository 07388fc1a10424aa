"""The hand-made recurrent network of the tutorial (its hidden state passes no activation) over longer sequences: the gradient explodes and the loss is NaN.
Answer there: clip the gradient.
How to handle exploding/vanishing gradient in Pytorch and negative loss values -- https://github.com/pytorch/pytorch/issues/2623
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM201 IM601 IM603 IM802 IM101",
    "remedies": ("CLIP", "SLOWER"),
    "by": 60,
    "beside": "IM201 IM601 IM603 IM101 IM703",
    "layers": (),
}
MEASURED = (float("nan"), 0.7021)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Rnn(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.i2h, self.i2o = nn.Linear(2 + 64, 64), nn.Linear(2 + 64, 10)

    def training_step(self, batch, _):
        hidden = torch.zeros(len(batch[0]), 64)
        for x in batch[0].view(-1, 32, 2).unbind(1):
            combined = torch.cat((x, hidden), 1)
            hidden, out = self.i2h(combined), self.i2o(combined)
        return F.cross_entropy(out, batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def faulty():
    return Rnn(), digits(32)


def fixed():
    return Rnn(), digits(32), {"gradient_clip_val": 0.25}
