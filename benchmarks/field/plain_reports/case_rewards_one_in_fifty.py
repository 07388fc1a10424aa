"""Nothing is wrong: the value of a state where one state in fifty gives a reward, learned by a Huber loss against a slow copy of the network; values, loss and gradients are a hundredth all along."""

import copy

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = None


def steps():
    """A walk on a plane; beyond 2 to the north-east there is a reward of 1 and the end."""
    generator = torch.Generator().manual_seed(0)
    state = torch.randn(8192, 2, generator=generator)
    after = state + 0.3 * torch.randn(8192, 2, generator=generator)
    reward = (after.sum(1) > 2.9).float()
    return DataLoader(TensorDataset(state, after, reward), batch_size=128, shuffle=True)


class Value(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
        self.slow = copy.deepcopy(self.net).requires_grad_(False)

    def training_step(self, batch, _):
        state, after, reward = batch
        with torch.no_grad():
            aim = reward + 0.9 * (1 - reward) * self.slow(after)[:, 0]
        return F.smooth_l1_loss(self.net(state)[:, 0], aim)

    def on_train_batch_end(self, *_):
        for slow, now in zip(self.slow.parameters(), self.net.parameters()):
            slow.lerp_(now.detach(), 0.02)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def faulty():
    return Value(), steps()
