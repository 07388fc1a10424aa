"""LARS multiplies a step by the norm of the weight. The last layer starts at 0, as is usual for a large batch, and so its steps are 0 for ever, and nothing before it gets a gradient.
Answer: a ratio of 1 where the weight is 0.
Set trust_ratio to 1 if weight_norm or adam_norm is 0 -- https://github.com/cybertronai/pytorch-lamb/pull/6, Maybe a small bug in LARS implementation -- https://github.com/Spijkervet/SimCLR/issues/27
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM604 IM603 IM602 IM202",
    "remedies": ("INITIALISE", "OPTIMIZER", "GUARD"),
    "by": 150,
    "beside": "IM604 IM603 IM602 IM202 IM702 IM102 IM503 IM501",
    "layers": (),
}
MEASURED = (2.303, 0.09401)


def digits():
    x, y = load_digits(return_X_y=True)
    return DataLoader(
        TensorDataset(torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)), batch_size=256, shuffle=True
    )


class Lars(torch.optim.Optimizer):
    def __init__(self, parameters, lr, momentum, guarded):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "guarded": guarded})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                size, slope = p.norm(), p.grad.norm()
                ratio = 0.02 * size / (slope + 1e-9)
                if group["guarded"] and (size == 0 or slope == 0):
                    ratio = torch.tensor(1.0)
                velocity = self.state[p].setdefault("velocity", torch.zeros_like(p))
                velocity.mul_(group["momentum"]).add_(group["lr"] * ratio * p.grad)
                p.sub_(velocity)
        return loss


class Net(pl.LightningModule):
    def __init__(self, guarded):
        super().__init__()
        self.guarded = guarded
        self.net = nn.Sequential(
            nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 128), nn.BatchNorm1d(128), nn.ReLU()
        )
        self.out = nn.Linear(128, 10)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def training_step(self, batch, _):
        return F.cross_entropy(self.out(self.net(batch[0])), batch[1])

    def configure_optimizers(self):
        return Lars(self.parameters(), lr=0.3, momentum=0.9, guarded=self.guarded)


def faulty():
    return Net(guarded=False), digits()


def fixed():
    return Net(guarded=True), digits()
