"""Healthy networks with a feature that resembles a fault."""

from __future__ import annotations

import copy
import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

if TYPE_CHECKING:
    from collections.abc import Callable

SPARSE_BIAS = -1.8
"""In standard deviations of a normal pre-activation, which then is positive in 3.6 % of the samples."""

SIREN_FREQUENCY = 30.0
"""Sitzmann et al. 2020, section 3.2, for the first layer."""


def chain(
    *widths: int,
    activation: Callable[[], nn.Module] = nn.ReLU,
    before: Callable[[int], nn.Module] | None = None,
    after: Callable[[int], nn.Module] | None = None,
    init: Callable[[Tensor], object] | None = None,
) -> nn.Sequential:
    """Return linear layers with activations between them.

    Args:
        widths: of the input, the hidden layers and the output.
        activation: makes one.
        before: makes what stands between a layer of a width and its activation.
        after: makes what stands behind the activation.
        init: of the weights, with zero biases; PyTorch's own if not given.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths[:-1]):
        layers.append(nn.Linear(inputs, outputs))
        if before is not None:
            layers.append(before(outputs))
        layers.append(activation())
        if after is not None:
            layers.append(after(outputs))
    net = nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))
    if init is not None:
        for layer in net:
            if isinstance(layer, nn.Linear):
                init(layer.weight)
                nn.init.zeros_(layer.bias)
    return net


def lecun_(weight: Tensor) -> None:
    """Fill with N(0, 1/fan_in), as self-normalising networks want it (Klambauer et al. 2017)."""
    nn.init.normal_(weight, std=weight.shape[1] ** -0.5)


class SparseCode(nn.Module):
    """A wide rectified code of which an input switches on 4 %, each unit for other inputs."""

    def __init__(self, inputs: int, units: int = 256) -> None:
        super().__init__()
        self.code = nn.Linear(inputs, units)
        self.activation = nn.ReLU()
        self.readout = nn.Linear(units, 1)
        nn.init.normal_(self.code.weight, std=inputs**-0.5)
        nn.init.constant_(self.code.bias, SPARSE_BIAS)

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, 1] for [n, inputs] of unit variance."""
        value: Tensor = self.readout(self.activation(self.code(x)))
        return value


class Step(nn.Module):
    """``x + scale · F(x)`` with a learned scale, a normalisation before F or none."""

    def __init__(self, width: int, *, normalised: bool, zero_end: bool = False, scale: float | None = None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if normalised else nn.Identity()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.activation = nn.ReLU()
        self.scale = None if scale is None else nn.Parameter(torch.full((width,), scale))
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        if zero_end:
            nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, width] for [n, width]."""
        branch: Tensor = self.second(self.activation(self.first(self.norm(x))))
        return x + (branch if self.scale is None else self.scale * branch)


class Finder(nn.Module):
    """Looks up the value of a given key: one head, with a learned temperature.

    Rows of the input are [key, value]; the last one is the asked key.
    """

    def __init__(self, keys: int, values: int, width: int = 32) -> None:
        super().__init__()
        self.keys = keys
        self.query, self.key = nn.Linear(keys, width, bias=False), nn.Linear(keys, width, bias=False)
        self.value = nn.Linear(values, width)
        self.softmax = nn.Softmax(-1)
        self.head = nn.Linear(width, values)
        # Queries and keys start in one space, as if they shared a matrix.
        self.key.weight.data.copy_(self.query.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [n, values] for [n, t + 1, keys + values]."""
        keys, values = x[:, :-1, : self.keys], x[:, :-1, self.keys :]
        logits = self.query(x[:, -1:, : self.keys]) @ self.key(keys).transpose(-1, -2) / math.sqrt(self.keys)
        found: Tensor = self.head((self.softmax(logits) @ self.value(values))[:, 0])
        return found


class Mixture(nn.Module):
    """Each sample goes to one of several experts, evenly on average (Fedus et al. 2022): in a small batch some get none."""

    def __init__(self, inputs: int, classes: int, experts: int, width: int = 32) -> None:
        super().__init__()
        self.gate = nn.Linear(inputs, experts)
        self.experts = nn.ModuleList(chain(inputs, width, classes) for _ in range(experts))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [n, classes] for [n, inputs], and how unevenly the experts are used: 1 if evenly."""
        gates = self.gate(x).softmax(-1)
        shares, chosen = gates.max(-1)
        rows, parts = [], []
        for number, expert in enumerate(self.experts):
            mine = (chosen == number).nonzero().flatten()
            if len(mine):
                rows.append(mine)
                parts.append(shares[mine, None] * expert(x[mine]))
        used = F.one_hot(chosen, len(self.experts)).float().mean(0)
        return torch.cat(parts)[torch.cat(rows).argsort()], len(self.experts) * (used * gates.mean(0)).sum()


class Looped(nn.Module):
    """One layer applied repeatedly."""

    def __init__(self, inputs: int, classes: int, width: int = 64, times: int = 4) -> None:
        super().__init__()
        self.embed, self.again, self.head = nn.Linear(inputs, width), nn.Linear(width, width), nn.Linear(width, classes)
        self.activation = nn.ReLU()
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [n, classes] for [n, inputs]."""
        x = self.activation(self.embed(x))
        for _ in range(self.times):
            x = self.activation(self.again(x))
        logits: Tensor = self.head(x)
        return logits


class Scanner(nn.Module):
    """A recurrent layer over a long sequence, and a class from the mean of its outputs."""

    def __init__(self, cell: type[nn.LSTM | nn.GRU], inputs: int, classes: int, width: int = 32) -> None:
        super().__init__()
        self.cell = cell(inputs, width, batch_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [n, classes] for [n, t, inputs]."""
        logits: Tensor = self.head(self.cell(x)[0].mean(1))
        return logits


class Student(nn.Module):
    """Learns the outputs of a frozen teacher, which started as its copy."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.student = net
        self.teacher = copy.deepcopy(net).requires_grad_(requires_grad=False)
        for parameter in self.teacher.parameters():
            parameter.add_(0.3 * parameter.std() * torch.randn_like(parameter) if parameter.numel() > 1 else 0.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what both say."""
        return self.student(x), self.teacher(x)


class Twofold(nn.Module):
    """A head for every batch, and one for every tenth only."""

    def __init__(self, inputs: int, classes: int, width: int = 64) -> None:
        super().__init__()
        self.trunk = chain(inputs, width, width)
        self.often, self.seldom = nn.Linear(width, classes), nn.Linear(width, classes)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [n, classes] for [n, inputs]."""
        features = F.relu(self.trunk(x))
        self.calls += 1
        logits: Tensor = self.often(features)
        return logits + self.seldom(features) if self.calls % 10 == 1 else logits


class Sine(nn.Module):
    """A layer of a sinusoidal network: sin(ω(Wx + b)), initialised as its authors do (Sitzmann et al. 2020)."""

    def __init__(self, inputs: int, outputs: int, *, first: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        bound = 1 / inputs if first else math.sqrt(6 / inputs) / SIREN_FREQUENCY
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, outputs] for [n, inputs]."""
        return torch.sin(SIREN_FREQUENCY * self.linear(x))


class Scaled(nn.Module):
    """Answers in the units of the targets: ``mean + std · net(x)``."""

    def __init__(self, net: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        self.net, self.mean, self.std = net, mean, std

    def forward(self, x: Tensor) -> Tensor:
        """Return [n, 1] for [n, inputs]."""
        answer: Tensor = self.mean + self.std * self.net(x)
        return answer


def picture_net(norm: Callable[[int], nn.Module], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return three convolutions over 8 × 8 pixels, each with a normalisation, and a head; PyTorch's initialisation."""
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((1, 12, 1), (12, 24, 2), (24, 24, 2)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), norm(outputs), activation()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))
