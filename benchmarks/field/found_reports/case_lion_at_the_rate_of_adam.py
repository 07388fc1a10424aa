"""AdamW was replaced with Lion, which steps by the sign, at AdamW's own rate for this network. The loss jumps about far above where it began.
Answer: a tenth to a third of the rate.
Report on Lion Optimizer -- https://github.com/lucidrains/denoising-diffusion-pytorch/issues/170, DrivAerML: Lion optimizer with aggressive LRs -- https://github.com/wandb/senpai/pull/2871
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM603 IM802 IM101 IM201 IM301 IM303 IM302",
    "remedies": ("SLOWER",),
    "by": 150,
    "beside": "IM603 IM802 IM101 IM201 IM301 IM303 IM304 IM302 IM702 IM703",
    "layers": (),
}
MEASURED = (1.498, 0.2274)


def digits():
    x, y = load_digits(return_X_y=True)
    return DataLoader(
        TensorDataset(torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(y)),
        batch_size=64,
        shuffle=True,
    )


class Lion(torch.optim.Optimizer):
    def __init__(self, parameters, lr, betas=(0.9, 0.99), weight_decay=1e-2):
        super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            one, two = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * (one * mean + (1 - one) * p.grad).sign())
                mean.mul_(two).add_(p.grad, alpha=1 - two)
        return loss


class Patches(pl.LightningModule):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate
        self.patch = nn.Conv2d(1, 64, 2, stride=2)
        self.place = nn.Parameter(0.02 * torch.randn(16, 64))
        self.blocks = nn.Sequential(
            *(nn.TransformerEncoderLayer(64, 4, 128, 0.0, batch_first=True, norm_first=True) for _ in range(3))
        )
        self.out = nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 10))

    def training_step(self, batch, _):
        x = self.patch(batch[0]).flatten(2).transpose(1, 2) + self.place
        return F.cross_entropy(self.out(self.blocks(x).mean(1)), batch[1])

    def configure_optimizers(self):
        return Lion(self.parameters(), self.rate)


def faulty():
    return Patches(1e-2), digits()


def fixed():
    return Patches(5e-4), digits()
