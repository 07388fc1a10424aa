"""Experts are mixed by softmax(relu(gate(domain))), with the domain's embedding started at 0: relu gives 0 and so does its gradient, so the embedding is never trained.
Answer there: that relu is a mistake.
Why using relu before softmax? -- https://github.com/mrchor/HiNet/issues/1
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM602 IM301 IM503 IM501",
    "remedies": ("OUTPUT_ACTIVATION", "ACTIVATION", "INITIALISE"),
    "by": 60,
    "beside": "IM604 IM102 IM202",
    "layers": ("domain", "gate", "*relu*", "*"),
}
MEASURED = (4.675, 0.0008051)


def domains():
    g = torch.Generator().manual_seed(0)
    domain = torch.randint(0, 4, (2048,), generator=g)
    x = torch.randn(2048, 8, generator=g)
    weight = torch.randn(4, 8, generator=g)
    return DataLoader(TensorDataset(x, domain, (x * weight[domain]).sum(1)), batch_size=64, shuffle=True)


class Mix(pl.LightningModule):
    def __init__(self, rectified):
        super().__init__()
        self.rectified = rectified
        self.domain = nn.Embedding(4, 16)
        nn.init.zeros_(self.domain.weight)
        self.gate = nn.Linear(16, 6, bias=False)
        self.experts = nn.ModuleList([nn.Linear(8, 1) for _ in range(6)])

    def training_step(self, batch, _):
        x, domain, y = batch
        gate = self.gate(self.domain(domain))
        weight = F.softmax(F.relu(gate) if self.rectified else gate, 1)
        out = torch.cat([expert(x) for expert in self.experts], 1)
        return F.mse_loss((weight * out).sum(1), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def faulty():
    return Mix(True), domains()


def fixed():
    return Mix(False), domains()
