"""Attention over a graph's neighbours by hand: the softmax runs over all edges of the graph and not over those of each node, so a node gets a thousandth.
Answer: a softmax within the edges that end in one node.
Asked again and again by people who write graph attention without a library's segment softmax.
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM102 IM202 IM604 IM702 IM502",
    "remedies": ("DIMENSION", "NORMALISE", "ATTENTION"),
    "by": 50,
    "beside": "IM102 IM202 IM604 IM702 IM502 IM603",
    "layers": (),
}
MEASURED = (1.386, 0.001298)
NODES = 200


def graph():
    """Communities: three of four edges stay within one; the columns only hint at it."""
    g = torch.Generator().manual_seed(0)
    y = torch.randint(0, 4, (NODES,), generator=g)
    a, b = torch.randint(0, NODES, (2, 9000), generator=g)
    kept = (y[a] == y[b]) | (torch.rand(9000, generator=g) < 0.1)
    a, b = torch.cat([a[kept], torch.arange(NODES)]), torch.cat([b[kept], torch.arange(NODES)])
    x = F.one_hot(y, 4).float() @ torch.randn(4, 16, generator=g) + 1.5 * torch.randn(NODES, 16, generator=g)
    return x, y, a, b


class GraphAttention(nn.Module):
    def __init__(self, before, after, over_all):
        super().__init__()
        self.over_all = over_all
        self.lin = nn.Linear(before, after)
        self.score = nn.Linear(2 * after, 1)

    def forward(self, x, a, b):
        h = self.lin(x)
        s = F.leaky_relu(self.score(torch.cat([h[a], h[b]], 1)), 0.2)[:, 0]
        if self.over_all:
            w = torch.softmax(s, 0)
        else:
            e = (s - s.max()).exp()
            w = e / torch.zeros(NODES).index_add(0, b, e)[b]
        return torch.zeros_like(h).index_add(0, b, w[:, None] * h[a])


class Net(pl.LightningModule):
    def __init__(self, over_all):
        super().__init__()
        self.x, self.y, self.a, self.b = graph()
        self.first, self.second = GraphAttention(16, 32, over_all), GraphAttention(32, 32, over_all)
        self.third = GraphAttention(32, 4, over_all)

    def training_step(self, batch, _):
        h = F.elu(self.first(self.x, self.a, self.b))
        h = F.elu(self.second(h, self.a, self.b))
        return F.cross_entropy(self.third(h, self.a, self.b)[batch[0]], self.y[batch[0]])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3, weight_decay=5e-4)


def nodes():
    return DataLoader(TensorDataset(torch.arange(NODES)), batch_size=NODES, shuffle=True)


def faulty():
    return Net(True), nodes()


def fixed():
    return Net(False), nodes()
