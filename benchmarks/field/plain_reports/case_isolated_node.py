"""A graph network with A normalised by the square roots of the degrees, where some nodes have no edge: 0 ** -0.5 is infinite, and inf * 0 is NaN in the first step.
Answer: add self-loops before the degrees are counted.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM601",
    "remedies": ("GUARD", "DATA", "NORMALISE"),
    "by": 5,
    "beside": "IM601 IM604",
    "layers": (),
}
MEASURED = (float("nan"), 0.07923)
NODES = 300


def graph(loops):
    generator = torch.Generator().manual_seed(0)
    kind = torch.arange(NODES) % 3
    chance = torch.where(kind[:, None] == kind, 0.03, 0.004)
    edges = torch.triu(torch.rand(NODES, NODES, generator=generator) < chance, 1)
    edges = (edges | edges.T).float()
    edges[:5] = 0.0
    edges[:, :5] = 0.0
    if loops:
        edges = edges + torch.eye(NODES)
    root = edges.sum(1).pow(-0.5)
    x = torch.randn(NODES, 16, generator=generator) + 0.7 * F.one_hot(kind, 16)
    return root[:, None] * edges * root, x, kind


class Convolution(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x, edges):
        return edges @ self.linear(x)


class GCN(pl.LightningModule):
    def __init__(self, loops):
        super().__init__()
        edges, x, kind = graph(loops)
        self.register_buffer("edges", edges)
        self.register_buffer("x", x)
        self.register_buffer("kind", kind)
        self.first, self.second = Convolution(16, 32), Convolution(32, 3)

    def training_step(self, batch, _):
        h = F.relu(self.first(self.x, self.edges))
        nodes = batch[0]
        return F.cross_entropy(self.second(h, self.edges)[nodes], self.kind[nodes])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01, weight_decay=5e-4)


def nodes():
    return DataLoader(TensorDataset(torch.arange(NODES)), batch_size=NODES)


def faulty():
    return GCN(False), nodes()


def fixed():
    return GCN(True), nodes()
