"""A learned scale of logits that is kept as a number and exponentiated; and its likes that are healthy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import init_monitor
from init_monitor import Severity

if TYPE_CHECKING:
    from init_monitor import Finding


class Towers(nn.Module):
    def __init__(self, start: float) -> None:
        super().__init__()
        self.one, self.other = (nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16)) for _ in range(2))
        self.scale = nn.Parameter(torch.tensor(start))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.one(x), dim=1) @ F.normalize(self.other(x + 0.1 * torch.randn_like(x)), dim=1).mT


class Offset(nn.Module):
    """A regression that begins at an offset of its own, and ends far from its targets."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.net, self.scale = nn.Linear(8, 1), nn.Parameter(torch.tensor(start))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.net(x)
        return out


def told(model: Towers | Offset, *, exponential: bool = True, target: float = 0.0) -> list[Finding]:
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with init_monitor.watch(model, optimizer=optimizer, sinks=()) as monitor:
        for _ in range(5):
            out = model(torch.randn(32, 8))
            with monitor.step() as step:
                if isinstance(model, Offset):
                    loss = (out + model.scale - target).square().mean()
                else:
                    logits = (model.scale.exp() if exponential else model.scale) * out
                    loss = F.cross_entropy(logits, torch.arange(32))
                step.loss = loss
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return [finding for finding in monitor.findings if "learned_scale" in finding.evidence]


def test_a_scale_that_is_exponentiated_though_it_is_no_logarithm_is_named() -> None:
    torch.manual_seed(0)
    (finding,) = told(Towers(1 / 0.07))
    assert (finding.code, finding.severity) == ("IM703", Severity.WARNING)
    assert "exponential of scale" in finding.message
    assert finding.evidence["learned_scale"] == pytest.approx(math.exp(1 / 0.07), rel=1e-3)
    assert "log(1/0.07)" in finding.remedy_sentence


@pytest.mark.parametrize(
    ("model", "exponential", "target"),
    [(Towers(math.log(1 / 0.07)), True, 0.0), (Towers(1 / 0.07), False, 0.0), (Offset(20.0), True, 24.0), (Offset(20.0), True, 60.0)],
    ids=["its logarithm", "as it is", "an offset near its targets", "an offset far from them"],
)  # fmt: skip
def test_scales_and_offsets_that_are_in_use_are_not_taken_for_one(
    model: Towers | Offset, *, exponential: bool, target: float
) -> None:
    assert told(model, exponential=exponential, target=target) == []
