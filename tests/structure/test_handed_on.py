"""What a module hands on belongs to the network, in whatever it is wrapped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import init_monitor


@dataclass
class Plain:
    forecast: Tensor
    state: Any = None


@dataclass(slots=True)
class Slotted:
    forecast: Tensor
    state: Any = None


class Named(NamedTuple):
    forecast: Tensor


class Forecast(nn.Module):
    """A network whose last addition has a shortcut that maps the input, as TiDE's lookback skip does."""

    def __init__(self, wrapped: Any) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        self.lookback = nn.Linear(8, 4)
        self.wrapped = wrapped

    def forward(self, x: Tensor) -> Any:
        return self.wrapped((self.body(x) + self.lookback(x)).view(-1, 4, 1))


@pytest.mark.parametrize("wrapped", [Plain, Slotted, Named, lambda y: Plain(forecast=y, state=[Slotted(y)])])
def test_a_sum_that_a_dataclass_carries_out_of_the_network_is_the_networks(wrapped: Any) -> None:
    model = Forecast(wrapped)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    x, y = torch.randn(16, 8), torch.randn(16, 4)
    with init_monitor.watch(model, optimizer=optimizer, sinks=()) as monitor:
        for _ in range(2):
            with monitor.step():
                loss = nn.functional.mse_loss(model(x).forecast.squeeze(-1), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    (found,) = monitor.structure.residuals
    assert (found.kind, found.skip, found.branch) == ("projection", "lookback", "body.2")
