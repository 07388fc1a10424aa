"""Advantages are standardised within their batch. The last batch of an epoch holds a single one, whose standard deviation is 0/0, and the policy is NaN from there on.
Answer: drop the last batch, or do not standardise a single advantage.
fix: skip advantage normalization if last minibatch size is 1 -- https://github.com/jolibrain/wheatley/pull/93
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 160
ANSWER = {
    "codes": "IM601 IM802",
    "remedies": ("GUARD", "DATA"),
    "by": 100,
    "beside": "IM601 IM802",
    "layers": (),
}
MEASURED = (0.7785, 0.06537)


def episodes(drop_last):
    """States, the action that was taken at random in each, and what it was worth."""
    g = torch.Generator().manual_seed(0)
    states = torch.randn(1025, 8, generator=g)
    actions = torch.randint(0, 4, (1025,), generator=g)
    best = (states @ torch.randn(8, 4, generator=g)).argmax(1)
    worth = (actions == best).float() + 0.1 * torch.randn(1025, generator=g)
    return DataLoader(TensorDataset(states, actions, worth, best), batch_size=32, shuffle=True, drop_last=drop_last)


class Policy(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 4))

    def training_step(self, batch, _):
        states, actions, worth, _ = batch
        advantage = (worth - worth.mean()) / (worth.std() + 1e-8)
        log_p = self.actor(states).log_softmax(1)
        ratio = (log_p.gather(1, actions[:, None]).squeeze(1) - torch.log(torch.tensor(0.25))).exp()
        return -torch.minimum(ratio * advantage, ratio.clamp(0.5, 2) * advantage).mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3, eps=1e-5)


def score(module, loader):
    states, best = loader.dataset.tensors[0], loader.dataset.tensors[3]
    right = (module.actor(states).argmax(1) == best).float().mean()
    return 1 - right


def faulty():
    return Policy(), episodes(drop_last=False)


def fixed():
    return Policy(), episodes(drop_last=True)
