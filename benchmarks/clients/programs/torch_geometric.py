"""Deep graph convolutions of PyTorch Geometric tell the communities of a random graph, in a loop of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch_geometric.nn import DeepGCNLayer, GATConv, GCNConv
from torch_geometric.utils import stochastic_blockmodel_graph

from benchmarks.clients.program import Expected, Program
from benchmarks.clients.watching import STEPS

if TYPE_CHECKING:
    from benchmarks.clients.watching import Watching

NODES, COMMUNITIES, WIDTH = 60, 3, 32


class Network(nn.Module):
    """An encoder, three convolutions with a skip each (one with attention), and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(COMMUNITIES + 5, WIDTH)
        convolutions = [GCNConv(WIDTH, WIDTH), GATConv(WIDTH, WIDTH, heads=2, concat=False), GCNConv(WIDTH, WIDTH)]
        self.layers = nn.ModuleList(
            DeepGCNLayer(convolution, nn.LayerNorm(WIDTH), nn.ReLU(), block="res+", dropout=0.1)
            for convolution in convolutions
        )
        self.head = nn.Linear(WIDTH, COMMUNITIES)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return the logits of every node."""
        x = self.encoder(x)
        for layer in self.layers:
            x = layer(x, edges)
        logits: Tensor = self.head(x.relu())
        return logits


def train(watching: Watching) -> nn.Module:
    """Learn the communities of all nodes from weak hints."""
    sizes = torch.full((COMMUNITIES,), NODES)
    likely = torch.full((COMMUNITIES, COMMUNITIES), 0.02) + 0.13 * torch.eye(COMMUNITIES)
    edges = stochastic_blockmodel_graph(sizes, likely)
    target = torch.arange(COMMUNITIES).repeat_interleave(NODES)
    hints = torch.randn(len(target), COMMUNITIES + 5)
    hints[:, :COMMUNITIES] += nn.functional.one_hot(target, COMMUNITIES)
    model = Network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    with watching.loop(model, optimizer) as watch:
        for _ in range(STEPS):
            with watch.step():
                loss = nn.functional.cross_entropy(model(hints, edges), target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            watching.keep(loss)
    return model


# encoder; `lin` of each convolution (torch_geometric's own Linear, applied before the messages are sent), head: five.
# DeepGCNLayer(block="res+") is norm, activation, convolution, and adds its input: three residual additions. GATConv's
# att_src and att_dst weigh elements of its own `lin` and mix nothing.
PROGRAM = Program(
    distribution="torch_geometric",
    kind="graphs",
    loop="its own",
    train=train,
    expected=Expected(
        weights={"encoder": 1, "layers.?.conv.lin": 3, "head": 1},
        residuals=3,
        others=("layers.?.norm", "layers.?.act", "layers.1.conv", "layers.?.conv.aggr_module", ""),
        inputs={
            "encoder": ("input",),
            "layers.1.conv.lin": ("layers.1.act",),
        },
    ),
)
