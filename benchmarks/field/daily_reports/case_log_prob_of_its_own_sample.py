"""A policy gradient with a Gaussian policy draws the action with rsample() and takes its log_prob: the mean cancels in a - mean, so that what the mean is made of gets a gradient of exactly 0.
Answer: sample(), or detach the action.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM602 IM604 IM202",
    "remedies": ("CONNECT",),
    "by": 150,
    "beside": "IM602 IM604 IM202 IM603",
    "layers": (),
}
MEASURED = (1.916, 0.09014)


class Policy(pl.LightningModule):
    """One step of a game: the state tells how far to go, and the reward is how near it came."""

    def __init__(self, cut):
        super().__init__()
        self.cut = cut
        self.body = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.mean = nn.Linear(64, 2)
        self.log_std = nn.Parameter(torch.zeros(2))

    def act(self, state):
        return torch.distributions.Normal(self.mean(self.body(state)), self.log_std.clamp(-2.0, 0.5).exp())

    def training_step(self, batch, _):
        state, goal = batch
        policy = self.act(state)
        action = policy.rsample()
        if self.cut:
            action = action.detach()
        reward = -(action.detach() - goal).square().sum(1)
        advantage = (reward - reward.mean()) / (reward.std() + 1e-6)
        return -(policy.log_prob(action).sum(1) * advantage).mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def score(module, loader):
    """How far the mean action is from the goal."""
    with torch.no_grad():
        return float(sum((module.act(s).mean - g).square().sum(1).mean() for s, g in loader) / len(loader))


def states():
    generator = torch.Generator().manual_seed(0)
    state = torch.randn(4096, 4, generator=generator)
    goal = torch.stack([state[:, 0] + torch.sin(2 * state[:, 1]), state[:, 2] * state[:, 3].tanh()], 1)
    return DataLoader(TensorDataset(state, goal), batch_size=256, shuffle=True)


def faulty():
    return Policy(False), states()


def fixed():
    return Policy(True), states()
