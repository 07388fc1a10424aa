"""A soft actor-critic's actor with a learned temperature, and the temperature's loss has the wrong sign: the more entropy there is above the target, the higher the
temperature. It grows to hundreds; the actor learns to be random and the loss falls without end. Asked there: no matter how I implement the temperature it crashes or goes to 0.
Implementation of automatic entropy temperature tuning -- https://github.com/rail-berkeley/softlearning/issues/163
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 500
ANSWER = {
    "codes": "IM802 IM303 IM603",
    "remedies": (
        "SIGN",
        "LOSS_TERM",
        "LOSS_SCALE",
    ),
    "by": 400,
    "beside": "IM802 IM303 IM603 IM301 IM201 IM101 IM302",
    "layers": (),
}
MEASURED = (5.158, 0.0822)


def states():
    g = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(torch.randn(4096, 8, generator=g)), batch_size=128, shuffle=True)


def worth(state, action):
    """The critic, which is known here: best is one action for each state."""
    return -4 * (action - 0.8 * torch.tanh(state[:, :2] - state[:, 2:4])).square().sum(1)


class Actor(pl.LightningModule):
    def __init__(self, sign):
        super().__init__()
        self.sign = sign
        self.net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.mean, self.log_std = nn.Linear(64, 2), nn.Linear(64, 2)
        self.log_alpha = nn.Parameter(torch.zeros(()))

    def training_step(self, batch, _):
        state = batch[0]
        h = self.net(state)
        mean, log_std = self.mean(h), self.log_std(h).clamp(-5, 2)
        raw = mean + log_std.exp() * torch.randn_like(mean)
        action = torch.tanh(raw)
        log_prob = torch.distributions.Normal(mean, log_std.exp()).log_prob(raw) - torch.log(1 - action.square() + 1e-6)
        log_prob = log_prob.sum(1)
        alpha = self.log_alpha.exp()
        actor = (alpha.detach() * log_prob - worth(state, action)).mean()
        temperature = self.sign * (self.log_alpha * (log_prob.detach() - 2.0)).mean()
        return actor + temperature

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def faulty():
    return Actor(1.0), states()


def fixed():
    return Actor(-1.0), states()


def score(module, loader):
    """How much worse than the best the mean action is."""
    state = loader.dataset.tensors[0]
    with torch.no_grad():
        h = module.net(state)
        raw = module.mean(h) + module.log_std(h).clamp(-5, 2).exp() * torch.randn(len(state), 2)
        return float(-worth(state, torch.tanh(raw)).mean())
