# mypy: disable-error-code="no-any-return"
# (a module's call returns Any)
"""Scaled residual additions: growth and gradients against autograd in float64."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

import init_monitor
from init_monitor.records.quantities import Quantity

D, BLOCKS = 16, 3


class Stream(nn.Module):
    """Blocks ``f * (a x + b F(x))``, written in one of several ways; ``kept`` holds what autograd is asked for."""

    def __init__(self, form: str, *, norm: bool) -> None:
        super().__init__()
        self.form = form
        self.stem = nn.Linear(D, D)
        self.branches = nn.ModuleList(nn.Linear(D, D) for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(D) if norm else nn.Identity()
        self.head = nn.Linear(D, 3)
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        self.kept = [self._keep(x)]
        for branch in self.branches:
            if self.form == "root":
                x = (x + torch.tanh(branch(x))) / math.sqrt(2)
            elif self.form == "alpha":
                x = 0.9 * x + torch.tanh(branch(x))
            else:
                x = torch.lerp(x, torch.tanh(branch(x)), 0.25)
            self.kept.append(self._keep(x))
        return self.head(self.norm(x))

    @staticmethod
    def _keep(x: Tensor) -> Tensor:
        if x.requires_grad:
            x.retain_grad()
        return x


def measured(model: Stream, x: Tensor) -> init_monitor.records.StepRecord:
    with init_monitor.watch(model, sinks=(), strict=True) as monitor, monitor.step():
        model(x).square().sum().backward()
    return monitor.records[0]


def variance(tensor: Tensor | None) -> float:
    assert tensor is not None
    return float(tensor.detach().double().var(correction=0))


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("form", ["root", "alpha", "lerp"])
def test_every_block_has_the_growth_and_the_gradients_of_autograd(form: str, *, norm: bool) -> None:
    torch.manual_seed(0)
    model = Stream(form, norm=norm).double()
    x = torch.randn(64, D, dtype=torch.float64)
    record = measured(model, x)
    streams = [variance(one) for one in model.kept]
    gradients = [variance(one.grad) for one in model.kept]
    growth = [after / before for before, after in itertools.pairwise(streams)]
    backward = [before / after for before, after in itertools.pairwise(gradients)]
    assert record.residual_names == ("#1", "#2", "#3")
    for quantity, expected in (
        (Quantity.RESIDUAL_SKIP_VAR, streams[:-1]),
        (Quantity.RESIDUAL_SUM_VAR, streams[1:]),
        (Quantity.RESIDUAL_GROWTH, growth),
        (Quantity.RESIDUAL_SKIP_GRADIENT_VAR, gradients[:-1]),
        (Quantity.RESIDUAL_SUM_GRADIENT_VAR, gradients[1:]),
        (Quantity.RESIDUAL_BACKWARD_GROWTH, backward),
    ):
        assert record.column(quantity).tolist() == pytest.approx(expected, rel=1e-4), quantity
