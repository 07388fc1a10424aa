"""Actor with a tanh on its actions, climbing a critic whose values are in the thousands: from the first steps on all actions are -1 or 1 and stay.
Said there: the actions saturate; normalise (rewards, observations), squash with care.
[question] unstable actions in PPO -- https://github.com/hill-a/stable-baselines/issues/1018
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM303 IM603",
    "remedies": ("SLOWER", "LOSS_SCALE", "TARGET"),
    "by": 100,
    "beside": "IM603 IM202 IM702 IM301 IM201",
    "layers": (),
}
MEASURED = (2.381, 0.1113)


class Actor(pl.LightningModule):
    def __init__(self, reward):
        super().__init__()
        self.reward = reward
        self.actor = nn.Sequential(
            nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2), nn.Tanh()
        )

    def training_step(self, batch, _):
        state, best = batch
        return (self.reward * (self.actor(state) - best).square().sum(1)).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def states():
    g = torch.Generator().manual_seed(0)
    state = torch.randn(4096, 6, generator=g)
    return DataLoader(TensorDataset(state, 0.6 * torch.sin(state[:, :2] + state[:, 2:4])), batch_size=64, shuffle=True)


def faulty():
    return Actor(1000.0), states()


def fixed():
    return Actor(5.0), states()


def score(module, loader):
    state, best = loader.dataset.tensors
    return (module.actor(state) - best).square().sum(1).mean()
