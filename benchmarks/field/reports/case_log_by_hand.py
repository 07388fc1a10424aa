"""The Bernoulli likelihood is written out with log(theta) and log(1 - theta); in the third epoch it is NaN.
Answer there: an eps inside the logarithms (or the loss on logits).
loss got nan. -- https://github.com/emited/VariationalRecurrentNeuralNetwork/issues/2
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {"codes": "IM601 IM802", "remedies": ("GUARD",), "by": 250, "beside": "IM601 IM802", "layers": ()}
MEASURED = (float("nan"), 6.435)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Auto(pl.LightningModule):
    def __init__(self, by_hand):
        super().__init__()
        self.by_hand = by_hand
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
        self.decoder = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64))

    def training_step(self, batch, _):
        x = (batch[0] > 0.5).float()
        out = self.decoder(self.encoder(x))
        if not self.by_hand:
            return F.binary_cross_entropy_with_logits(out, x, reduction="sum") / len(x)
        theta = torch.sigmoid(out)
        return -(x * torch.log(theta) + (1 - x) * torch.log(1 - theta)).sum() / len(x)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def faulty():
    return Auto(True), digits(32)


def fixed():
    return Auto(False), digits(32)
