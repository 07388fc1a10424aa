"""One of several inputs that is the same for every sample, and constants that are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

import init_monitor
from init_monitor import Severity

if TYPE_CHECKING:
    from init_monitor import Finding


class Told(nn.Module):
    """Two columns, and a time that says which of them counts."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.time = nn.Linear(2, 32), nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 32))
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.enter(x) * (1 + self.time(t)))
        return out


def trained(way: str, steps: int = 120) -> list[Finding]:
    """Train with a time as it should be, divided as a whole number, or one for a whole batch."""
    torch.manual_seed(0)
    model = Told()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with init_monitor.watch(model, optimizer=optimizer, sinks=()) as monitor:
        for _ in range(steps):
            x, t = torch.randn(1024, 2), torch.randint(0, 100, (1024,))
            if way == "one for a batch":
                t[:] = t[0]
            angles = (t // 100 if way == "whole numbers" else t / 100)[:, None] * torch.arange(1, 5)
            y = torch.where(t < 50, x[:, 0], -x[:, 0])[:, None]  # without the time its mean is 0
            with monitor.step() as step:
                step.loss = loss = (model(x, torch.cat((angles.sin(), angles.cos()), 1)) - y).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return monitor.findings


@pytest.mark.parametrize("way", ["whole numbers", "right", "one for a batch"])
def test_a_time_that_is_0_for_every_sample_is_told_where_the_loss_stays(way: str) -> None:
    told = [finding for finding in trained(way) if finding.code == "IM702" and finding.severity > Severity.INFO]
    assert [finding.layers for finding in told] == ([("time.0",)] if way == "whole numbers" else [])
    if told:
        assert "division of whole numbers" in told[0].remedy_sentence
        assert "print(embedding" in told[0].remedy_code
