"""Networks as they are trained in practice: on a pretrained trunk, with adapters, with tied weights."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.detection import material, seeding

PIXELS = 64
WARM_STEPS = 150
"""Batches that a trunk learns before the case begins: by then it reads nine digits of ten."""


def trunk(width: int = 64) -> nn.Sequential:
    """Return three layers with ReLU, He-initialised."""
    net = nn.Sequential(
        nn.Linear(PIXELS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
    )
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return net


def head(width: int = 64) -> nn.Linear:
    """Return an output layer whose first outputs are small."""
    layer = nn.Linear(width, material.CLASSES)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer


@cache
def _learned() -> dict[str, Tensor]:
    with torch.random.fork_rng(
        devices=[]
    ):  # whether it is trained now or came from the cache must not affect what follows
        seeding.seed(1)
        net = nn.Sequential(trunk(), head())
        train_classifier(net, WARM_STEPS)
    return {name: value.clone() for name, value in net[0].state_dict().items()}


def learned_trunk() -> nn.Sequential:
    """Return a trunk that has learned to tell digits apart."""
    net = trunk()
    net.load_state_dict(_learned())
    return net


def train_classifier(net: nn.Module, steps: int, *, rate: float = 3e-3) -> None:
    """Train on digits [n, 64] in place, with Adam and without a framework."""
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    left = steps
    while left:
        for inputs, classes in material.digit_vectors():
            loss = F.cross_entropy(net(inputs), classes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            left -= 1
            if not left:
                break


class Finetuned(nn.Module):
    """A head on a trunk.

    Attributes:
        detached: the trunk is cut off from the graph.
    """

    def __init__(self, trunk: nn.Module, head: nn.Module, *, detached: bool = False) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head
        self.detached = detached

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [n, 10] for [n, 64]."""
        features = self.trunk(x)
        logits: Tensor = self.head(features.detach() if self.detached else features)
        return logits


class Adapted(nn.Module):
    """A frozen layer with a low-rank addition (Hu et al. 2022): ``base(x) + up(down(x))``; up begins at zero."""

    def __init__(self, base: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base = base.requires_grad_(requires_grad=False)
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the base returns, and what the adapter adds."""
        adapted: Tensor = self.base(x) + self.up(self.down(x))
        return adapted


class TiedAutoencoder(nn.Module):
    """Pixels to a code and back through the transposes of the same matrices."""

    def __init__(self, hidden: int = 48, code: int = 16) -> None:
        super().__init__()
        self.first = nn.Linear(PIXELS, hidden)
        self.second = nn.Linear(hidden, code)
        self.bias1, self.bias2 = nn.Parameter(torch.zeros(hidden)), nn.Parameter(torch.zeros(PIXELS))
        self.activation1, self.activation2 = nn.Tanh(), nn.Tanh()
        for layer in (self.first, self.second):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, 64] for [n, 64]."""
        code = self.second(self.activation1(self.first(x)))
        hidden = self.activation2(F.linear(code, self.second.weight.t(), self.bias1))
        return F.linear(hidden, self.first.weight.t(), self.bias2)
