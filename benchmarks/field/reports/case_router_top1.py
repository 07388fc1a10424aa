"""Mixture of experts with k = 1: the softmax runs over the one chosen logit, gives 1, and the gate never gets a gradient.
Answer there: softmax over all experts first, then the top k.
Zero Grad of w_gate -- https://github.com/davidmrau/mixture-of-experts/issues/27
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM602 IM503",
    "remedies": ("DIMENSION", "NORMALISE", "CONNECT"),
    "by": 30,
    "beside": "IM503 IM602",
    "layers": ("gate*", "*softmax*", "*"),
}
MEASURED = (9.097, 3.361)


def regions():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(4096, 4, generator=g)
    slope = torch.randn(4, 4, generator=g) * 2
    region = (x[:, 0] > 0).long() * 2 + (x[:, 1] > 0).long()
    return DataLoader(TensorDataset(x, (x * slope[region]).sum(1, keepdim=True)), batch_size=128, shuffle=True)


class Moe(pl.LightningModule):
    def __init__(self, before):
        super().__init__()
        self.before = before
        self.gate = nn.Linear(4, 4, bias=False)
        self.experts = nn.ModuleList([nn.Linear(4, 1) for _ in range(4)])

    def training_step(self, batch, _):
        x, y = batch
        logits = self.gate(x)
        if self.before:
            top, index = logits.softmax(1).topk(1, dim=1)
        else:
            top, index = logits.topk(1, dim=1)
            top = top.softmax(1)
        weight = torch.zeros_like(logits).scatter(1, index, top)
        out = torch.cat([expert(x) for expert in self.experts], 1)
        return F.mse_loss((weight * out).sum(1, keepdim=True), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.03)


def faulty():
    return Moe(False), regions()


def fixed():
    return Moe(True), regions()
