"""Signals that grow or fade over depth, made up and real, and the two rules that judge them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from init_monitor.rules import ExplodingActivations, VanishingActivations

if TYPE_CHECKING:
    from init_monitor.records import Finding, History

BOTH = (ExplodingActivations(), VanishingActivations())


def judge(past: History) -> list[Finding]:
    """Return what both rules find."""
    return [finding for rule in BOTH for finding in rule.judge(past)]


def geometric(count: int, growth: float, *, start: float = 1.0) -> list[float]:
    """Return variances by layer that change by a factor per layer."""
    return [start * growth**i for i in range(1, count + 1)]


def network(
    depth: int, initialise: object, *, activation: type[nn.Module] | None = nn.ReLU, width: int = 512
) -> nn.Sequential:
    """Return linear layers in a row, each weight filled by ``initialise``, with activations in between."""
    modules: list[nn.Module] = []
    for i in range(depth):
        layer = nn.Linear(width, width)
        initialise(layer.weight)  # type: ignore[operator]
        nn.init.zeros_(layer.bias)
        modules.append(layer)
        if activation is not None and i < depth - 1:
            modules.append(activation())
    return nn.Sequential(*modules)
