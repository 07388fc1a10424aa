"""Trainings that are healthy, and resemble a fault in one number or another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.nn.utils import parametrizations

from benchmarks.detection import material, pathologies, seeding
from benchmarks.detection.case import Evidence, Training
from benchmarks.detection.lightning import Learner, adam, sgd
from benchmarks.detection.lookalike_nets import (
    Finder,
    Mixture,
    Scaled,
    Sine,
    SparseCode,
    Step,
    chain,
)
from benchmarks.detection.modules import Scheduled
from benchmarks.detection.practice_nets import head, learned_trunk, train_classifier, trunk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.detection.lightning import Loss, MakeOptimizer
    from benchmarks.detection.material import Loader

WIDTH = 64
WARM_UP = 60
STEPS = 120
KEYS = 16
PAIRS = 8
THOUSANDS = 1e4
EXPERTS = 6
BALANCE = 0.3
"""Of the loss that keeps the experts evenly used: more than the 0.01 of Fedus et al. 2022, for a hundred steps."""

LEAST_USE = 0.03
"""A fifth of an even share."""


def digits(
    make: Callable[[], nn.Module],
    *,
    optimizer: MakeOptimizer | None = None,
    loader: Callable[[], Loader] = material.digit_vectors,
    loss: Loss = F.cross_entropy,
    options: Mapping[str, Any] | None = None,
) -> Training:
    """Digits to a class, by any network."""
    seeding.seed(0)
    return Training(Learner(make(), loss, optimizer or adam(2e-3)), loader(), options or {})


def plain_net(*, hidden: int = 3, activation: Callable[[], nn.Module] = nn.ReLU, dropout: float = 0.0) -> nn.Module:
    """Return some layers as PyTorch initialises them."""
    after = (lambda _: nn.Dropout(dropout)) if dropout else None
    return chain(64, *[WIDTH] * hidden, 10, activation=activation, after=after)


def he_net(*, hidden: int = 4, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    """Return some layers as He et al. initialise them."""
    return chain(64, *[WIDTH] * hidden, 10, activation=activation, init=nn.init.kaiming_normal_)


def normed_net(*, before: bool) -> nn.Module:
    """Return layers with BatchNorm before or after the activation."""
    where: dict[str, Any] = {"before" if before else "after": nn.BatchNorm1d}
    return chain(64, *[WIDTH] * 4, 10, **where)


def residual_net(**options: Any) -> nn.Module:  # noqa: ANN401 - those of a step
    """Return twelve residual steps between two layers."""
    return nn.Sequential(nn.Linear(64, WIDTH), *(Step(WIDTH, **options) for _ in range(12)), nn.Linear(WIDTH, 10))


def spectral_net() -> nn.Module:
    """Return layers whose largest singular value is held at 1."""
    net = chain(64, WIDTH, WIDTH, 10)
    for layer in list(net):
        if isinstance(layer, nn.Linear):
            parametrizations.spectral_norm(layer)
    return net


def weight_normed_net() -> nn.Module:
    """Return layers whose weights are a direction and a length."""
    net = chain(64, WIDTH, WIDTH, 10)
    for layer in list(net):
        if isinstance(layer, nn.Linear):
            parametrizations.weight_norm(layer)
    return net


def trained_net() -> nn.Module:
    """Return a network that has learned already."""
    net = nn.Sequential(trunk(), head())
    train_classifier(net, 150)
    return net


def frozen_net() -> nn.Module:
    """Return a new head on a trunk that has learned and is frozen."""
    return nn.Sequential(learned_trunk().requires_grad_(requires_grad=False), head())


def sine_net() -> nn.Module:
    """Return a sinusoidal network of two inputs."""
    last = nn.Linear(WIDTH, 1)
    nn.init.uniform_(last.weight, -0.01, 0.01)
    return nn.Sequential(Sine(2, WIDTH, first=True), Sine(WIDTH, WIDTH), Sine(WIDTH, WIDTH), last)


def sparse() -> Training:
    """A function of Gaussian inputs, on a sparse code."""
    seeding.seed(0)
    return Training(Learner(SparseCode(32), F.mse_loss, sgd(0.05)), material.function(32))


def sparse_and_alive(training: Training) -> Evidence:
    """Say that the code is sparse without a dead unit, and that it learned."""
    return pathologies.all_of(pathologies.no_dead_units("net.activation", zeros=0.94), pathologies.improved(0.7))(
        training
    )


def large_targets() -> Training:
    """Targets of the size of ten thousand, and a network that answers in their units."""
    seeding.seed(0)
    net = Scaled(chain(32, WIDTH, WIDTH, 1), 0.0, THOUSANDS)
    return Training(Learner(net, F.mse_loss, adam(3e-3)), material.function(32, scale=THOUSANDS))


def larger_than_the_net() -> Training:
    """Targets of the size of a hundred, and a network that has to grow to them."""
    seeding.seed(0)
    net = chain(32, WIDTH, WIDTH, 1)
    return Training(Learner(net, F.mse_loss, adam(2e-2)), material.function(32, scale=100.0))


def scheduled(schedule: Callable[[int], float], rate: float) -> Training:
    """A learning rate that is a function of the step."""
    seeding.seed(0)

    def make(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LambdaLR:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)

    return Training(Scheduled(he_net(), F.cross_entropy, adam(rate), make), material.digit_vectors())


def rising(step: int) -> float:
    """Rise from a ten-thousandth to 1, as a transformer's first steps do."""
    return max(1e-4, min(1.0, step / WARM_UP))


def falling(step: int) -> float:
    """Fall from 1 to 0 along a cosine."""
    return 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * min(1.0, step / (STEPS - 1))))))


def confident() -> Training:
    """Two classes far apart, a sigmoid, and its cross entropy."""
    seeding.seed(0)
    points = torch.randn(1024, 16)
    labels = torch.randint(0, 2, (1024, 1)).float()
    points[:, :2] += 6 * labels - 3
    net = nn.Sequential(chain(16, 32, 1), nn.Sigmoid())
    return Training(Learner(net, F.binary_cross_entropy, adam(2e-2)), material.batches(points, labels))


def finding() -> Training:
    """Key and value pairs, and a key to be looked up."""
    seeding.seed(0)
    keys = torch.rand(2048, KEYS).argsort(1)[:, :PAIRS]
    values = torch.randint(0, 10, (2048, PAIRS))
    pairs = torch.cat([F.one_hot(keys, KEYS), F.one_hot(values, 10)], -1).float()
    asked = torch.randint(0, PAIRS, (2048,))
    question = torch.zeros(2048, 1, KEYS + 10)
    question[:, 0, :KEYS] = F.one_hot(keys[torch.arange(2048), asked], KEYS).float()
    return Training(
        Learner(Finder(KEYS, 10), F.cross_entropy, adam(2e-2)),
        material.batches(torch.cat([pairs, question], 1), values[torch.arange(2048), asked]),
    )


def memorising() -> Training:
    """Thirty-two samples, memorised until hardly any gradient is left."""
    seeding.seed(0)
    images, classes = material.digits()
    loader = material.batches(images[:32].flatten(1), classes[:32])
    return Training(Learner(he_net(hidden=3), F.cross_entropy, adam(2e-2)), loader)


def spiking(step: int) -> float:
    """Begin with a rate ten times as large for three steps: the loss rises, and comes back."""
    return 10.0 if step < 3 else 1.0  # noqa: PLR2004 - three steps


def spiked(training: Training) -> Evidence:
    """Say that the loss rose by half in the first steps, and then fell to a third."""
    losses: Any = training.module.losses
    start, peak, end = losses[0], max(losses[:20]), sum(losses[-20:]) / 20
    return Evidence(peak > 1.5 * start and end < start / 3, f"loss {start:.3g}, up to {peak:.3g}, down to {end:.3g}")


def pixels() -> Loader:
    """Return digits as sequences of 32 pairs of pixels."""
    images, classes = material.digits()
    return material.batches(images.reshape(len(images), 32, 2), classes)


def one_hot() -> Loader:
    """Return every fourth pixel as one of 17 grey values: 16 ones among 272 numbers."""
    images, classes = material.raw_digits()
    greys = images[:, ::2, ::2].flatten(1).long()
    return material.batches(F.one_hot(greys, material.GREYS).flatten(1).float(), classes)


def raw() -> Loader:
    """Return digits as they are stored, from 0 to 16."""
    images, classes = material.raw_digits()
    return material.batches(images.flatten(1), classes)


def imitation(output: tuple[Tensor, Tensor], _target: Tensor) -> Tensor:
    """Return how far the student is from the teacher."""
    return F.mse_loss(*output)


def waves() -> Training:
    """A function of the plane with many waves."""
    seeding.seed(0)
    points = 2 * torch.rand(1024, 2) - 1
    values = (torch.sin(12 * points[:, :1]) * torch.cos(9 * points[:, 1:])) / 0.5
    return Training(Learner(sine_net(), F.mse_loss, adam(1e-3)), material.batches(points, values))


def hinge(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the margin loss, whose gradient is 0 for every sample that is right by a margin."""
    return F.multi_margin_loss(logits, classes)


def points(**options: Any) -> Training:  # noqa: ANN401 - those of the clusters
    """Clusters of points to a class."""
    seeding.seed(0)
    classes = len(options.get("shares", ())) or material.CLASSES
    return Training(
        Learner(chain(32, WIDTH, WIDTH, classes), F.cross_entropy, adam(3e-3)), material.clusters(**options)
    )


def mixture() -> Training:
    """Experts of which some get no sample of a batch."""
    seeding.seed(0)
    return Training(Learner(Mixture(32, 10, EXPERTS), balanced, adam(5e-3)), material.clusters(batch=16))


def balanced(output: tuple[Tensor, Tensor], classes: Tensor) -> Tensor:
    """Return the cross entropy and a little of how unevenly the experts are used."""
    return F.cross_entropy(output[0], classes) + BALANCE * output[1]


def evenly_used(training: Training) -> Evidence:
    """Say that every expert has its share of the data, that some batches pass one by, and that the loss fell."""
    gate = training.module.get_submodule("net.gate")
    with torch.no_grad():
        chosen = torch.stack([gate(inputs).argmax(-1) for inputs, _ in training.loader])
    used = F.one_hot(chosen, int(chosen.max()) + 1)
    least = float(used.flatten(0, 1).double().mean(0).min())
    passed = float((used.sum(1) == 0).any(1).double().mean())
    fell = pathologies.improved(0.3)(training)
    return Evidence(
        fell.holds and least >= LEAST_USE and used.shape[-1] == EXPERTS and passed > 0,
        f"the least used expert gets {least:.1%} of the data, {passed:.0%} of the batches leave one out; {fell.figure}",
    )


def decaying(parameters: Any) -> torch.optim.Optimizer:  # noqa: ANN401 - parameters in any form
    """Return AdamW with a strong, but usual, weight decay."""
    return torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.3)
