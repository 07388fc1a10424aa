"""Lines of text are read with CTC. For the first quarter of the training nothing but blanks is predicted, and the loss hardly moves; then it learns to read. It is right.
Integrate Baidu-warpctc (the loss does not converge in the first iterations) -- https://github.com/apache/mxnet/pull/2326, Number of epochs required -- https://github.com/baidu-research/warp-ctc/issues/32
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = None
MEASURED = None


def lines():
    """Six digits of 8 x 8 pixels next to each other."""
    x, y = load_digits(return_X_y=True)
    g = torch.Generator().manual_seed(0)
    which = torch.randint(0, len(x), (2048, 6), generator=g)
    tiles = torch.tensor(x / 16, dtype=torch.float32).view(-1, 8, 8)[which]
    return DataLoader(
        TensorDataset(tiles.transpose(1, 2).reshape(2048, 1, 8, 48), torch.tensor(y)[which] + 1),
        batch_size=32,
        shuffle=True,
    )


class Reader(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()
        )
        self.rnn = nn.LSTM(128, 64, batch_first=True, bidirectional=True)
        self.out = nn.Linear(128, 11)

    def training_step(self, batch, _):
        x, y = batch
        h = self.net(x).flatten(1, 2).transpose(1, 2)
        log_p = self.out(self.rnn(h)[0]).log_softmax(2).transpose(0, 1)
        size = len(x)
        return F.ctc_loss(log_p, y, torch.full((size,), 24), torch.full((size,), 6))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def faulty():
    return Reader(), lines()
