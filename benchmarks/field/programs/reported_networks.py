"""Networks of public reports that did not train: a part of the network is in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.field.case import Case, Program, answer
from benchmarks.field.programs.base import Learner, Supervised, adam, sgd, share_wrong
from benchmarks.field.programs.material import Loader, batches, pictures
from benchmarks.field.remedy import Remedy

if TYPE_CHECKING:
    from collections.abc import Callable


def _large_pictures() -> Loader:
    x, y = load_digits(return_X_y=True)
    images = torch.tensor(x, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    return batches(F.interpolate((images - images.mean()) / images.std(), size=16), torch.tensor(y))


class PlainRelu(Learner):
    """Embedding into two dimensions, then a linear classifier behind one more rectifier."""

    def __init__(self, activation: Callable[[], nn.Module]) -> None:
        super().__init__(adam(1e-2))
        self.last = activation()
        self.embed = nn.Sequential(
            *[nn.Conv2d(1, 16, 5, padding=2), activation(), nn.MaxPool2d(2)],
            *[nn.Conv2d(16, 32, 5, padding=2), activation(), nn.MaxPool2d(2), nn.Flatten()],
            *[nn.Linear(32 * 16, 128), activation(), nn.Linear(128, 128), activation(), nn.Linear(128, 2)],
        )
        self.head = nn.Linear(2, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.last(self.embed(x)))
        return out

    def loss(self, batch: list[Tensor]) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])


class Block(nn.Module):
    """x + F(x), rectified; no normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.conv2(F.relu(self.conv1(x))))


class NormlessResNet(Learner):
    """Ten blocks whose weights have a standard deviation of scale / sqrt(fan_in)."""

    def __init__(self, scale: float) -> None:
        super().__init__(sgd(0.01, momentum=0.9))
        self.stem = nn.Conv2d(1, 12, 3, padding=1)
        self.blocks = nn.Sequential(*[Block(12) for _ in range(10)])
        self.head = nn.Linear(12 * 64, 10)
        for part in self.blocks.modules():
            if isinstance(part, nn.Conv2d) and part.bias is not None:
                nn.init.normal_(part.weight, std=scale / (9 * 12) ** 0.5)
                nn.init.zeros_(part.bias)

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, y = batch
        return F.cross_entropy(self.head(self.blocks(F.relu(self.stem(x))).flatten(1)), y)


def _letters() -> Loader:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 20, (2048, 12), generator=generator)
    weight = torch.rand(20, generator=generator)
    return batches(tokens, weight[tokens].mean(1, keepdim=True) + 0.1 * weight[tokens[:, :1]])


class Retention(Learner):
    """A regression on a text, with a rectifier behind its last layer or without one."""

    def __init__(self, *, rectified: bool) -> None:
        super().__init__(adam(3e-3))
        torch.manual_seed(17)  # unlucky, as 8 of the first 25 seeds are
        self.rectified = rectified
        self.embedding = nn.Embedding(20, 16)
        self.lstm = nn.LSTM(16, 64, 2, batch_first=True)
        self.output = nn.Linear(64, 1)

    def loss(self, batch: list[Tensor]) -> Tensor:
        hidden, _ = self.lstm(self.embedding(batch[0]))
        out = self.output(hidden[:, -1])
        return F.mse_loss(F.relu(out) if self.rectified else out, batch[1])


def _marked() -> Loader:
    """Serve texts in which one of 12 steps is marked, and its sign is the class."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4096, 12, 8, generator=generator)
    mark = torch.randint(0, 12, (4096,), generator=generator)
    x[..., 0] = 0
    x[torch.arange(4096), mark, 0] = 3
    return batches(x, (x[torch.arange(4096), mark, 1] > 0).long())


class Pooled(Learner):
    """Attention pooling whose weights are a softmax over ``dim``."""

    def __init__(self, dim: int) -> None:
        super().__init__(adam(1e-2))
        self.dim = dim
        self.features, self.score, self.head = nn.Linear(8, 16), nn.Linear(8, 1), nn.Linear(16, 2)

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, y = batch
        weight = torch.softmax(self.score(x), dim=self.dim)
        return F.cross_entropy(self.head((weight * self.features(x)).sum(1)), y)


def _normalised(*, before_pooling: bool) -> Program:
    conv = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1)]
    norm, pool = nn.GroupNorm(64, 64), nn.AdaptiveAvgPool2d(1)
    middle = [norm, nn.ReLU(), pool] if before_pooling else [pool, norm, nn.ReLU()]
    net = nn.Sequential(*conv, *middle, nn.Flatten(), nn.Linear(64, 10))
    return Program(Supervised(net, F.cross_entropy, adam(5e-3)), batches(*pictures()))


CASES = (
    Case(
        "plain_relu",
        "A small conv net with rectifiers stays at loss 2.3; with PReLU it trains (adambielski/siamese-triplet, issue 17).",
        lambda: Program(PlainRelu(nn.ReLU), _large_pictures()),
        lambda: Program(PlainRelu(nn.PReLU), _large_pictures()),
        answer(
            "IM301",
            *[Remedy.INITIALISE, Remedy.ACTIVATION, Remedy.SLOWER],
            by=150,
            beside="IM102 IM202 IM302 IM603 IM702",
        ),
        steps=250,
        seed=1,
        score=share_wrong,
        measured=(0.899, 0.00835),
    ),
    Case(
        "resnet_no_norm",
        "A ResNet without normalisation starts at a loss of 24 or NaN (huangleiBuaa/ONI, issue 1).",
        lambda: Program(NormlessResNet(2**0.5), batches(*pictures())),
        lambda: Program(NormlessResNet(0.6), batches(*pictures())),
        answer(
            "IM401",
            *[Remedy.RESIDUAL, Remedy.NORMALISE, Remedy.INITIALISE],
            by=10,
            beside="IM101 IM201 IM603 IM703",
            layers=("blocks*",),
        ),
        measured=(2.3, 0.0533),
    ),
    Case(
        "relu_on_output",
        "An LSTM regression answers 0 for everything: a rectifier behind its last layer (ProteomicsML, pull request 203).",
        lambda: Program(Retention(rectified=True), _letters()),
        lambda: Program(Retention(rectified=False), _letters()),
        answer(
            "IM604 IM503 IM602 IM301",
            Remedy.OUTPUT_ACTIVATION,
            by=10,
            beside="IM202 IM702",
            severity="critical",
        ),
        steps=250,
        measured=(0.379, 0.000437),
    ),
    Case(
        "attention_pool",
        "Attention pooling weighs all alike: softmax over a dimension of size 1 (catalyst, pull request 285).",
        lambda: Program(Pooled(-1), _marked()),
        lambda: Program(Pooled(1), _marked()),
        answer("IM503 IM602", Remedy.DIMENSION, by=20, beside="IM604"),
        steps=300,
        measured=(0.656, 0.0846),
    ),
    Case(
        "norm_of_one",
        "GroupNorm behind the pooling has one value per group, so its output is 0 (pytorch, issue 19250).",
        lambda: _normalised(before_pooling=False),
        lambda: _normalised(before_pooling=True),
        answer(
            "IM503",
            Remedy.NORMALISE,
            by=20,
            beside="IM102 IM202 IM602 IM604 IM702",
        ),
        steps=200,
        measured=(2.3, 1.28),
    ),
)
