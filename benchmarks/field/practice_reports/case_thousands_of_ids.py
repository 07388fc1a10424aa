"""Nothing is wrong: a click model with tables of 5,000 ids of which a batch touches a few (Zipf), sparse gradients and an optimizer for them, dense features and a wide linear part beside the deep one."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 600
ANSWER = None


def clicks(samples=16384):
    generator = torch.Generator().manual_seed(0)
    share = 1 / torch.arange(1, 5001.0)
    user = torch.multinomial(share, samples, True, generator=generator)
    item = torch.multinomial(share, samples, True, generator=generator)
    dense = torch.randn(samples, 6, generator=generator).exp().log1p()
    taste = torch.randn(2, 5000, 4, generator=generator)
    logit = (taste[0, user] * taste[1, item]).sum(1) + dense[:, 0] - 2
    y = (torch.rand(samples, generator=generator) < torch.sigmoid(logit)).float()
    return DataLoader(TensorDataset(user, item, dense, y), batch_size=128, shuffle=True)


class WideAndDeep(pl.LightningModule):
    def __init__(self, width=16):
        super().__init__()
        self.automatic_optimization = False
        self.users, self.items = nn.Embedding(5000, width, sparse=True), nn.Embedding(5000, width, sparse=True)
        self.wide = nn.ModuleList(nn.Embedding(5000, 1, sparse=True) for _ in range(2))
        for table in (self.users, self.items, *self.wide):
            nn.init.normal_(table.weight, std=0.05)
        self.deep = nn.Sequential(
            nn.Linear(2 * width + 7, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
        )

    def training_step(self, batch, _):
        user, item, dense, y = batch
        u, i = self.users(user), self.items(item)
        deep = self.deep(torch.cat((u, i, (u * i).sum(1, keepdim=True), dense), 1))[:, 0]
        logits = deep + self.wide[0](user)[:, 0] + self.wide[1](item)[:, 0]
        loss = F.binary_cross_entropy_with_logits(logits, y)
        for optimizer in self.optimizers():
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()
        return {"loss": loss.detach()}

    def configure_optimizers(self):
        tables = [table.weight for table in (self.users, self.items, *self.wide)]
        return torch.optim.SparseAdam(tables, lr=2e-3), torch.optim.AdamW(self.deep.parameters(), lr=1e-3)


def faulty():
    return WideAndDeep(), clicks()
