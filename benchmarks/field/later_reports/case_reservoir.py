"""An echo state network: the recurrent weights are drawn at a spectral radius of 0.95 and never trained, only what reads them is."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = None  # nothing to be said by a signal monitor


def waves():
    g = torch.Generator().manual_seed(0)
    phase, pace = torch.rand(1024, 1, generator=g) * 6, 0.1 + 0.4 * torch.rand(1024, 1, generator=g)
    x = torch.sin(phase + pace * torch.arange(31)) + 0.05 * torch.randn(1024, 31, generator=g)
    return DataLoader(TensorDataset(x[:, :30, None], x[:, 30:]), batch_size=64, shuffle=True)


class Reservoir(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(1, 100, batch_first=True).requires_grad_(False)
        nn.init.normal_(self.rnn.weight_hh_l0)
        self.rnn.weight_hh_l0 *= 0.95 / torch.linalg.eigvals(self.rnn.weight_hh_l0).abs().max()
        nn.init.uniform_(self.rnn.weight_ih_l0, -0.5, 0.5)
        self.read = nn.Linear(100, 1)

    def training_step(self, batch, _):
        return F.mse_loss(self.read(self.rnn(batch[0])[0][:, -1]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.read.parameters(), lr=3e-3)


def faulty():
    return Reservoir(), waves()
