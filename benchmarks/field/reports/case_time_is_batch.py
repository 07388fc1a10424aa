"""batch_first=True was left out, so the LSTM runs along the samples of the batch; accuracy 11 %.
Answer there: put it back.
question about recurrent neural network -- https://github.com/yunjey/pytorch-tutorial/issues/89
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = None  # nothing to be said by a signal monitor
MEASURED = (1.489, 0.1441)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Rnn(pl.LightningModule):
    def __init__(self, batch_first):
        super().__init__()
        self.lstm = nn.LSTM(8, 64, 1, batch_first=batch_first)
        self.fc = nn.Linear(64, 10)

    def training_step(self, batch, _):
        out, _state = self.lstm(batch[0].view(-1, 8, 8))
        return F.cross_entropy(self.fc(out[:, -1]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def faulty():
    return Rnn(False), digits(64)


def fixed():
    return Rnn(True), digits(64)
