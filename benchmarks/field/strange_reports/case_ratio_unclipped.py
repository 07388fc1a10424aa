"""Policy gradient on stored actions: the ratio of new to old probability is not clipped, and log_std is free. The policy narrows down on a few lucky actions,
their ratio is exp(large); the loss falls, the mean is thrown beyond all stored actions, and then every ratio is 0. Asked there: learns until a certain point, then NaN or a dropping reward.
Problems with PPO/ClippedPPO -- https://github.com/IntelLabs/coach/issues/87
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM802 IM601 IM603 IM303 IM202",
    "remedies": (
        "CLIP",
        "LOSS_TERM",
        "GUARD",
        "SLOWER",
        "LEARNING_RATE",
    ),
    "by": 400,
    "beside": "IM802 IM601 IM603 IM303 IM202 IM201 IM101 IM302 IM604",
    "layers": (),
}
MEASURED = (99.68, 0.8925)


def stored():
    """States, actions of an old policy N(0, 1), its log probability and the normalised advantage."""
    g = torch.Generator().manual_seed(0)
    state = torch.randn(4096, 6, generator=g)
    best = torch.tanh(state[:, :3] + state[:, 3:])
    action = torch.randn(4096, 3, generator=g)
    reward = -(action - best).square().sum(1)
    advantage = (reward - reward.mean()) / reward.std()
    old = torch.distributions.Normal(0.0, 1.0).log_prob(action).sum(1)
    return DataLoader(TensorDataset(state, action, old, advantage), batch_size=256, shuffle=True)


class Policy(pl.LightningModule):
    def __init__(self, clip):
        super().__init__()
        self.clip = clip
        self.mean = nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 3))
        self.log_std = nn.Parameter(torch.zeros(3))

    def training_step(self, batch, _):
        state, action, old, advantage = batch
        new = (
            torch.distributions.Normal(self.mean(state), self.log_std.exp(), validate_args=False)
            .log_prob(action)
            .sum(1)
        )
        ratio = (new - old).exp()
        if self.clip:
            return -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
        return -(ratio * advantage).mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def faulty():
    return Policy(False), stored()


def fixed():
    return Policy(True), stored()


def score(module, loader):
    """How far the mean action is from the best one."""
    state = loader.dataset.tensors[0]
    with torch.no_grad():
        wrong = (module.mean(state) - torch.tanh(state[:, :3] + state[:, 3:])).square().sum(1).mean()
    return float(torch.nan_to_num(wrong, nan=1e9))
