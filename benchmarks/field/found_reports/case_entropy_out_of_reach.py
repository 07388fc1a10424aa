"""The weight of the entropy is learned (soft actor-critic), for an entropy of 2 where four actions have at most ln 4 = 1.39: it can never be reached, and the weight grows for ever, until the rewards mean nothing.
Answer: a wanted entropy below the logarithm of the number of actions.
Any idea why SAC loss would diverge? -- https://github.com/rail-berkeley/rlkit/issues/50, alpha convergence issues with discrete actions -- https://github.com/rail-berkeley/rlkit/issues/75
"""

import math
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM802 IM603 IM702",
    "remedies": ("LOSS_TERM", "TARGET", "SIGN"),
    "by": 350,
    "beside": "IM802 IM603 IM702",
    "layers": (),
}
MEASURED = (2.163, 0.04442)


def states():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2048, 6, generator=g)
    return DataLoader(TensorDataset(x, 3 * torch.tanh(x @ torch.randn(6, 4, generator=g))), batch_size=64, shuffle=True)


class Soft(pl.LightningModule):
    def __init__(self, wanted):
        super().__init__()
        self.wanted = wanted
        self.actor = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
        self.log_alpha = nn.Parameter(torch.zeros(()))

    def training_step(self, batch, _):
        x, value = batch
        log_p = self.actor(x).log_softmax(1)
        p = log_p.exp()
        entropy = -(p * log_p).sum(1)
        alpha = self.log_alpha.exp()
        actor = -(alpha.detach() * entropy + (p * value).sum(1)).mean()
        return actor + (alpha * (entropy.detach() - self.wanted)).mean()

    def configure_optimizers(self):
        return torch.optim.Adam(
            [{"params": self.actor.parameters(), "lr": 3e-3}, {"params": [self.log_alpha], "lr": 3e-2}]
        )


def score(module, loader):
    """How far the value lies below the best."""
    x, value = loader.dataset.tensors
    return (value.max(1).values - (module.actor(x).softmax(1) * value).sum(1)).mean()


def faulty():
    return Soft(wanted=2.0), states()


def fixed():
    return Soft(wanted=0.3 * math.log(4)), states()
