"""Networks of other kinds: sets, pieces, products, flows, policies."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from benchmarks.plans import task


class Sets(nn.Module):
    """The sum of what each element gives (Zaheer et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.each = mlp_of(2, 48, 48, 48)
        self.together = mlp_of(48, 48, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Answer for the whole set."""
        return self.together(self.each(x).sum(1))


def mlp_of(*sizes: int) -> nn.Sequential:
    """Return linear layers of these sizes with ReLU between them."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Maxout(nn.Module):
    """The largest of three linear functions (Goodfellow et al. 2013)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pieces = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Take the largest."""
        return self.pieces(x).unflatten(-1, (-1, 3)).amax(-1)


def maxout() -> nn.Module:
    """Return four such layers."""
    return nn.Sequential(*(Maxout(64) for _ in range(4)), nn.Linear(64, 10))


class Factorised(nn.Module):
    """Products of rows that start at N(0, 0.01²) (Rendle 2010)."""

    def __init__(self) -> None:
        super().__init__()
        self.single, self.rows = nn.Embedding(task.RATED, 1), nn.Embedding(task.RATED, 8)
        nn.init.zeros_(self.single.weight)
        nn.init.normal_(self.rows.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Add the products of all pairs."""
        rows = self.rows(x)
        return self.single(x).sum((1, 2)) + (rows.sum(1).square() - rows.square().sum(1)).sum(1) / 2


class Coupling(nn.Module):
    """One half scales and moves the other; at the start it leaves it alone (Dinh et al. 2017)."""

    def __init__(self, *, turned: bool) -> None:
        super().__init__()
        self.net, self.turned = mlp_of(5, 32, 32, 10), turned
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both halves and the logarithm of the determinant."""
        kept, moved = x.chunk(2, 1)[:: -1 if self.turned else 1]
        scale, shift = self.net(kept).chunk(2, 1)
        scale = torch.tanh(scale)
        halves = (kept, moved * scale.exp() + shift)
        return torch.cat(halves[:: -1 if self.turned else 1], 1), scale.sum(1)


class Flow(nn.Module):
    """Six couplings."""

    def __init__(self) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(Coupling(turned=bool(n % 2)) for n in range(6))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is to be normal, and how much smaller it has been made."""
        total = x.new_zeros(len(x))
        for coupling in self.couplings:
            x, one = coupling(x)
            total = total + one
        return x, total


class Player(nn.Module):
    """A policy that starts undecided and a value, on one body (Andrychowicz et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.policy, self.value = nn.Linear(64, 10), nn.Linear(64, 1)
        gains = {self.body[0]: 2**0.5, self.body[2]: 2**0.5, self.policy: 0.01, self.value: 1.0}
        for layer, gain in gains.items():
            nn.init.orthogonal_(layer.weight, gain)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both."""
        hidden = self.body(x)
        return self.policy(hidden), self.value(hidden)
