"""Digits with a sigmoid output, mean squared error and SGD at 0.001: every output is the mean, about 0.1, for every picture.
Cause: the step is far too small for such a loss (a mean over samples and classes behind a sigmoid). Answer: a much larger rate, or Adam.
Neural network trained with PyTorch outputs the mean value for every input -- whosebug.com/index.php/question/6116914
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM603 IM604 IM801",
    "remedies": ("FASTER",),
    "by": 200,
    "beside": "IM604 IM603 IM702",
    "layers": (),
}
MEASURED = (0.2414, 0.04476)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Net(pl.LightningModule):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate
        self.layer1 = nn.Linear(64, 100)
        self.layer2 = nn.Linear(100, 10)

    def training_step(self, batch, _):
        out = torch.sigmoid(self.layer2(torch.sigmoid(self.layer1(batch[0]))))
        return F.mse_loss(out, F.one_hot(batch[1], 10).float())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.rate)


def faulty():
    return Net(0.001), digits(32)


def fixed():
    return Net(10.0), digits(32)
