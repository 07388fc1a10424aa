"""Targets that are out of reach of steps of a size of their own, also where the loss is too noisy to be called level."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import init_monitor
from init_monitor import Finding, Severity


def told(scale: float, *, uneven: bool, rate: float = 1e-3, steps: int = 160, rows: bool = False) -> list[Finding]:
    """Train on targets of that size; of an uneven size, if wanted, up to a thousand times as large for some samples as for others."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    with init_monitor.watch(net, optimizer=optimizer, sinks=(), strict=True) as watched:
        for _ in range(steps):
            x = torch.randn(128, 4)
            sizes = 0.001 ** torch.rand(128, 1) if uneven else torch.ones(128, 1)
            y = scale * sizes * torch.stack([x[:, 0].sin(), x[:, 1] * x[:, 2].tanh()], 1)
            y = y * torch.randn(128, 1).sign() if uneven else y
            with watched.step() as now:
                error = (net(x) - y).square()
                loss = error.sum(1).mean() if rows else error.mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                now.loss = loss
    return [one for one in watched.findings if one.severity > Severity.INFO]


@pytest.mark.parametrize("rows", [True, False])
def test_targets_out_of_reach_are_told_however_noisy_the_loss_is(*, rows: bool) -> None:
    found = told(1000.0, uneven=True, rows=rows)
    assert [one.code for one in found] == ["IM603"]
    assert "what it is compared with is out of reach" in found[0].message
    assert "sigma" in found[0].remedy_sentence


@pytest.mark.parametrize(("scale", "uneven", "rate"), [(10.0, True, 1e-3), (1.0, False, 1e-3), (200.0, False, 0.03)])
def test_large_or_uneven_targets_that_are_within_reach_are_left_alone(
    scale: float, rate: float, *, uneven: bool
) -> None:
    assert told(scale, uneven=uneven, rate=rate) == []
