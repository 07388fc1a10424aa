"""A two-tower recommender learns from what people bought and from nothing else: every target is 1, so "yes" to everything makes the loss 0 and all
people and things end in one direction.
Answer: negatives (those of the batch).
Asked of on forums about implicit feedback.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM702",
    "remedies": ("COLLAPSE", "DATA", "LOSS_TERM"),
    "by": 200,
    "beside": "IM702 IM703 IM202 IM101",
    "layers": (),
}
MEASURED = (0.505, 0.09659)


def purchases():
    g = torch.Generator().manual_seed(0)
    taste, kind = torch.randn(400, 8, generator=g), torch.randn(300, 8, generator=g)
    user = torch.randint(0, 400, (8192,), generator=g)
    item = torch.distributions.Categorical(logits=2 * taste @ kind.T)
    torch.manual_seed(0)
    return DataLoader(
        TensorDataset(user, item.sample((64,)).T[user, torch.randint(0, 64, (8192,))]), batch_size=128, shuffle=True
    )


def tower(count):
    return nn.Sequential(nn.Embedding(count, 32), nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16))


class Towers(pl.LightningModule):
    def __init__(self, negatives):
        super().__init__()
        self.negatives = negatives
        self.users, self.items = tower(400), tower(300)

    def training_step(self, batch, _):
        u, i = self.users(batch[0]), self.items(batch[1])
        if self.negatives:
            return F.cross_entropy(u @ i.T, torch.arange(len(u)))
        match = (u * i).sum(1)
        return F.binary_cross_entropy_with_logits(match, torch.ones_like(match))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def score(module, loader):
    """Of 127 others, the share that is ranked above the thing that was bought."""
    user, item = (x[:1024] for x in loader.dataset.tensors)
    s = module.users(user) @ module.items(item).T
    return (s >= s.diagonal()[:, None]).float().mean() - 1 / len(s)


def faulty():
    return Towers(False), purchases()


def fixed():
    return Towers(True), purchases()
