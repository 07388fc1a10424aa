"""A flow over pictures of 0 to 255: the loss is a sum over 64 pixels in nats, which begins at several hundred and falls by a tenth. It is right.
Asked there: the loss of my trained model is 7.3e3 after 100 epochs, is it unnormal? Answer: compare bits per dimension.
What is the value of the loss? -- https://github.com/chrischute/real-nvp/issues/6
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = None
MEASURED = None


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Coupling(nn.Module):
    def __init__(self, turn):
        super().__init__()
        self.turn = turn
        self.net = nn.Sequential(nn.Linear(32, 96), nn.ReLU(), nn.Linear(96, 64))
        nn.init.zeros_(self.net[2].weight)
        nn.init.zeros_(self.net[2].bias)

    def forward(self, x):
        still, moved = (x[:, self.turn :: 2], x[:, 1 - self.turn :: 2])
        s, shift = self.net(still).chunk(2, 1)
        s = torch.tanh(s)
        out = torch.empty_like(x)
        out[:, self.turn :: 2], out[:, 1 - self.turn :: 2] = still, moved * s.exp() + shift
        return out, s.sum(1)


class Flow(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Coupling(k % 2) for k in range(6))

    def training_step(self, batch, _):
        pixels = (batch[0] * 255).round() + torch.rand_like(batch[0])
        z, volume = (pixels / 256 - 0.5) * 3, 64 * torch.log(torch.tensor(3 / 256))
        for layer in self.layers:
            z, more = layer(z)
            volume = volume + more
        return (z.square().sum(1) / 2 - volume).mean() + 32 * 1.8379

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def faulty():
    return Flow(), digits(64)
