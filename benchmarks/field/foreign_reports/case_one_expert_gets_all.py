"""Eight experts, the best one by the router for each sample (as in a switch layer), and nothing that balances them: what the router sees
lies far from 0, so one or two experts are the best for all samples and the others never get one.
Answer: a norm in front of the router and a loss for balance.
All tokens go to the same expert -- https://github.com/pytorch/torchtitan/issues/1246
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM602",
    "remedies": ("LOSS_TERM", "NORMALISE", "COLLAPSE", "DATA", "INPUT"),
    "by": 60,
    "beside": "IM602 IM701",
    "layers": ("experts.*",),
}
MEASURED = (1.227, 0.6588)


def pictures():
    x, y = load_digits(return_X_y=True)
    return DataLoader(
        TensorDataset(torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)), batch_size=128, shuffle=True
    )


class Experts(pl.LightningModule):
    def __init__(self, balanced):
        super().__init__()
        self.balanced = balanced
        self.body = nn.Sequential(nn.Linear(64, 48), nn.Softplus())
        self.norm = nn.LayerNorm(48) if balanced else nn.Identity()
        self.router = nn.Linear(48, 8, bias=False)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(48, 3), nn.Tanh(), nn.Linear(3, 10)) for _ in range(8))

    def training_step(self, batch, _):
        h = 3 * self.body(batch[0])
        p = torch.softmax(self.router(self.norm(h)), 1)
        weight, best = p.max(1)
        out = torch.zeros(len(h), 10)
        for i, expert in enumerate(self.experts):
            mine = best == i
            if mine.any():
                out = out.index_put((mine.nonzero()[:, 0],), weight[mine, None] * expert(h[mine]))
        loss = F.cross_entropy(out, batch[1])
        self.latest = loss.detach()
        if self.balanced:
            loss = loss + 0.3 * 8 * (F.one_hot(best, 8).float().mean(0) * p.mean(0)).sum()
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=5e-3)


def score(module, loader):
    """The cross-entropy alone, without the term for balance."""
    module.training_step(loader.dataset.tensors, 0)
    return module.latest


def faulty():
    return Experts(False), pictures()


def fixed():
    return Experts(True), pictures()
