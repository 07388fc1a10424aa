"""REINFORCE whose returns are 100 to 200 and always positive, with SGD: after a few episodes the policy takes one action whatever the state is, with probability 1.
Answer: take the mean of the returns away and divide by their standard deviation.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM303 IM603 IM101 IM201 IM301 IM703 IM702",
    "remedies": ("TARGET", "SLOWER", "LOSS_SCALE", "OUTPUT_SCALE"),
    "by": 150,
    "beside": "IM303 IM603 IM101 IM201 IM301 IM703 IM702 IM202 IM604",
    "layers": (),
}
MEASURED = (0.6663, 0.01758)


def states():
    generator = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(torch.randn(4096, 4, generator=generator)), batch_size=64, shuffle=True)


def best(state):
    """The action that the largest of three coordinates names."""
    return state[:, :3].argmax(1)


class Policy(pl.LightningModule):
    def __init__(self, standardised):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 3))
        self.standardised = standardised

    def training_step(self, batch, _):
        state = batch[0]
        policy = torch.distributions.Categorical(logits=self.net(state))
        action = policy.sample()
        reward = 100.0 + 100.0 * (action == best(state))
        if self.standardised:
            reward = (reward - reward.mean()) / (reward.std() + 1e-8)
        return -(policy.log_prob(action) * reward).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def score(module, loader):
    """The share of wrong actions."""
    return sum(float((module.net(x).argmax(1) != best(x)).float().mean()) for (x,) in loader) / len(loader)


def faulty():
    return Policy(False), states()


def fixed():
    return Policy(True), states()
