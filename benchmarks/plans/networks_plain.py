"""Networks without skip connections: fully connected, convolutional, autoencoders, recurrent, on graphs."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from benchmarks.plans import task

if TYPE_CHECKING:
    from collections.abc import Callable


def mlp(
    activation: Callable[[], nn.Module], depth: int, width: int = 64, sizes: tuple[int, int] = (64, 10)
) -> nn.Module:
    """Return ``depth`` hidden layers with an activation each, and an output layer."""
    layers: list[nn.Module] = []
    for n in range(depth):
        layers += [nn.Linear(width if n else sizes[0], width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, sizes[1]))


def normed_mlp(norm: type[nn.Module], depth: int) -> nn.Module:
    """Return hidden layers with a normalisation before each ReLU."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(64, 64), norm(64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def dropout_mlp() -> nn.Module:
    """Return four hidden layers with dropout."""
    layers: list[nn.Module] = []
    for _ in range(4):
        layers += [nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def weight_norm_mlp() -> nn.Module:
    """Return hidden layers under weight normalisation."""
    layers: list[nn.Module] = []
    for _ in range(5):
        layers += [parametrizations.weight_norm(nn.Linear(64, 64)), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def spectral_mlp() -> nn.Module:
    """Return hidden layers under spectral normalisation."""
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [parametrizations.spectral_norm(nn.Linear(64, 64)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def cnn(depth: int, norm: Callable[[int], nn.Module] | None = None, width: int = 12) -> nn.Module:
    """Return convolutions with ReLU, a mean over the picture, and an output layer."""
    layers: list[nn.Module] = []
    for n in range(depth):
        layers += [nn.Conv2d(width if n else 1, width, 3, padding=1), *([norm(width)] if norm else ()), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def vgg(*, norm: bool) -> nn.Module:
    """Return three stages of two convolutions with pooling, and two fully connected layers."""
    layers: list[nn.Module] = []
    before = 1
    for width in (8, 16, 16):
        for _ in range(2):
            layers += [nn.Conv2d(before, width, 3, padding=1), *([nn.BatchNorm2d(width)] if norm else ()), nn.ReLU()]
            before = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10))


def separable() -> nn.Module:
    """Return depthwise and pointwise convolutions with batch normalisation."""
    layers: list[nn.Module] = [nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU6()]
    for _ in range(3):
        layers += [nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False), nn.BatchNorm2d(12), nn.ReLU6()]
        layers += [nn.Conv2d(12, 12, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU6()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10))


def autoencoder(activation: type[nn.Module], sizes: tuple[int, ...]) -> nn.Module:
    """Return an encoder down to the last size and its mirror image."""
    path = (*sizes, *reversed(sizes[:-1]))
    layers: list[nn.Module] = []
    for a, b in pairwise(path):
        layers += [nn.Linear(a, b), activation()]
    return nn.Sequential(*layers[:-1])


class UNet(nn.Module):
    """Two scales, joined by concatenation; transposed convolutions upwards."""

    def __init__(self, *, norm: bool) -> None:
        super().__init__()
        one = nn.BatchNorm2d if norm else nn.Identity
        self.down1 = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), one(8), nn.ReLU())
        self.down2 = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), one(16), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), one(16), nn.ReLU())
        self.up2 = nn.ConvTranspose2d(16, 16, 2, stride=2)
        self.join2 = nn.Sequential(nn.Conv2d(32, 8, 3, padding=1), one(8), nn.ReLU())
        self.up1 = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.join1 = nn.Sequential(nn.Conv2d(16, 8, 3, padding=1), one(8), nn.ReLU())
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Go down twice and up twice."""
        a = self.down1(x)
        b = self.down2(nn.functional.max_pool2d(a, 2))
        c = self.deep(nn.functional.max_pool2d(b, 2))
        b = self.join2(torch.cat([self.up2(c), b], 1))
        return self.head(self.join1(torch.cat([self.up1(b), a], 1)))


class Recurrent(nn.Module):
    """A recurrent layer whose last output is read by a linear one."""

    def __init__(
        self, kind: type[nn.RNNBase], inputs: int, outputs: int, *, layers: int = 1, both: bool = False
    ) -> None:
        super().__init__()
        self.core = kind(inputs, 48, layers, batch_first=True, bidirectional=both)
        self.head = nn.Linear(96 if both else 48, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Read the sequence."""
        return self.head(self.core(x)[0][:, -1])


class Characters(nn.Module):
    """A recurrent language model, whose embedding may be its output layer as well."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(task.alphabet(), 48)
        self.core = nn.LSTM(48, 48, batch_first=True)
        self.head = nn.Linear(48, task.alphabet(), bias=False)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        """Give the logits of each next character."""
        return self.head(self.core(self.table(x))[0])


class Graph(nn.Module):
    """Layers that mix each node with its neighbours."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64 if n == 0 else 48, 48) for n in range(depth))
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Classify every node."""
        for layer in self.layers:
            x = torch.relu(task.adjacency() @ layer(x))
        return self.head(x)


class Sines(nn.Module):
    """Sines of frequency 30 as activations, with the initialisation they need (Sitzmann et al. 2020, Section 3.2)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(1, 64), nn.Linear(64, 64), nn.Linear(64, 64)])
        self.head = nn.Linear(64, 1)
        with torch.no_grad():
            self.layers[0].weight.uniform_(-1, 1)
            for layer in (self.layers[1], self.layers[2], self.head):
                layer.weight.uniform_(-((6 / 64) ** 0.5) / 30, (6 / 64) ** 0.5 / 30)

    def forward(self, x: Tensor) -> Tensor:
        """Follow the wave."""
        for layer in self.layers:
            x = torch.sin(30 * layer(x))
        return self.head(x)


class Columns(nn.Module):
    """An embedding per category, summed or side by side, and a small fully connected network."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(240, 8)
        self.body = nn.Sequential(nn.Linear(240, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Classify a row of categories."""
        return self.body(self.table(x).flatten(1))
