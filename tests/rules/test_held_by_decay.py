"""Weight decay that holds a loss up without emptying the network: IM603 names it, where most of the gradient only undoes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import init_monitor
from init_monitor import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES, FEATURES = 6, 24


def images(*, norm: bool) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 4, 6)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16) if norm else nn.Identity(),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.BatchNorm2d(16) if norm else nn.Identity(),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * FEATURES, CLASSES),
    )


def rows(outputs: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(FEATURES, 64),
        nn.LayerNorm(64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.LayerNorm(64),
        nn.ReLU(),
        nn.Linear(64, outputs),
    )


def trained(
    model: nn.Module,
    make: Callable[[nn.Module], torch.optim.Optimizer],
    *,
    regression: bool = False,
    batch: int = 64,
    steps: int = 160,
) -> list[Finding]:
    """Train on a fixed set of classes, or of functions of the first features, and return all that is louder than information."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(512, FEATURES, generator=generator)
    rule = x @ torch.randn(FEATURES, CLASSES, generator=generator)
    targets = 2 * x[:, :2].tanh() if regression else (rule + x.roll(1, 1)[:, :CLASSES] ** 2).argmax(1)
    optimizer = make(model)
    with init_monitor.watch(model, optimizer=optimizer, sinks=(), strict=True) as watched:
        for _ in range(steps):
            chosen = torch.randint(0, len(x), (batch,), generator=generator) if batch < len(x) else torch.arange(len(x))
            with watched.step() as now:
                out = model(x[chosen])
                loss = F.mse_loss(out, targets[chosen]) if regression else F.cross_entropy(out, targets[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                now.loss = loss
    return [finding for finding in watched.findings if finding.severity > Severity.INFO]


@pytest.mark.parametrize(
    ("model", "make", "regression"),
    [
        (images(norm=True), lambda m: torch.optim.Adam(m.parameters(), lr=1e-3, weight_decay=0.5), False),
        (rows(CLASSES), lambda m: torch.optim.Adam(m.parameters(), lr=1e-3, weight_decay=0.4), False),
        (rows(CLASSES), lambda m: torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1), False),
        (rows(2), lambda m: torch.optim.SGD(m.parameters(), lr=0.02, momentum=0.9, weight_decay=0.5), True),
    ],
)
def test_decay_as_strong_as_the_gradient_is_named(
    model: nn.Module, make: Callable[[nn.Module], torch.optim.Optimizer], *, regression: bool
) -> None:
    found = [one for one in trained(model, make, regression=regression) if one.code == "IM603"]
    assert len(found) == 1
    assert found[0].message.startswith("Weight decay")
    assert "Lower the weight decay" in found[0].remedy
    assert "weight_decay=0.0001" in found[0].remedy
    assert found[0].step >= 50


@pytest.mark.parametrize(
    ("model", "make", "regression", "batch"),
    [
        (images(norm=True), lambda m: torch.optim.Adam(m.parameters(), lr=1e-3), False, 64),
        (images(norm=False), lambda m: torch.optim.Adam(m.parameters(), lr=1e-3, weight_decay=1e-3), False, 64),
        (rows(CLASSES), lambda m: torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4), False, 64),
        (rows(CLASSES), lambda m: torch.optim.AdamW(m.parameters(), lr=1e-3, weight_decay=0.1), False, 64),
        (rows(2), lambda m: torch.optim.Adam(m.parameters(), lr=1e-3, weight_decay=1e-2), True, 64),
        # All data in each batch: gradient and decay balance in the end, however small the decay is.
        (nn.Linear(FEATURES, 2), lambda m: torch.optim.SGD(m.parameters(), lr=0.1, weight_decay=0.01), True, 512),
    ],
)
def test_a_decay_that_costs_the_loss_little_is_not(
    model: nn.Module, make: Callable[[nn.Module], torch.optim.Optimizer], *, regression: bool, batch: int
) -> None:
    assert trained(model, make, regression=regression, batch=batch) == []
