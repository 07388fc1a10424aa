"""What stacked recurrent layers leave of a signal: the formula against PyTorch's own layers, at small signals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from init_monitor import watch
from init_monitor.analysis.stacked_recurrent import LEFT, Stack, stacks

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 96


def layer_of(kind: str, layers: int) -> nn.LSTM | nn.GRU | nn.RNN:
    made: Callable[..., nn.LSTM | nn.GRU | nn.RNN] = getattr(nn, kind)
    torch.manual_seed(0)
    return made(WIDTH, WIDTH, num_layers=layers, batch_first=True)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_layer_without_recurrence_leaves_of_small_signals_what_is_stated(kind: str) -> None:
    layer = layer_of(kind, 1)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if not name.startswith("weight_ih"):
                parameter.zero_()
    x = 1e-2 * torch.randn(64, 60, WIDTH)
    with torch.no_grad():
        out = layer(x)[0][:, 30:]  # the state has settled
        pre = x.var() * WIDTH * layer.get_parameter("weight_ih_l0").var()
    assert float(out.var() / pre) == pytest.approx(LEFT[kind], rel=0.1)


class Reader(nn.Module):
    def __init__(self, kind: str, layers: int) -> None:
        super().__init__()
        self.read, self.head = layer_of(kind, layers), nn.Linear(WIDTH, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.head(self.read(x)[0][:, -1])
        return made


def measured(model: Reader) -> list[Stack]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with watch(model, optimizer, sinks=(), strict=True) as monitor, monitor.step():
        model(torch.randn(16, 8, WIDTH)).square().mean().backward()
        optimizer.step()
    return list(stacks(monitor.records[0], monitor.structure))


@pytest.mark.parametrize(("kind", "layers"), [("LSTM", 2), ("LSTM", 5), ("GRU", 3), ("RNN", 4)])
def test_the_weights_of_the_upper_layers_are_multiplied(kind: str, layers: int) -> None:
    model = Reader(kind, layers)
    (stack,) = measured(model)
    assert (stack.layer.module, stack.layers) == ("read", layers)
    wanted = 1.0
    for i in range(1, layers):
        wanted *= LEFT[kind] * WIDTH * float(model.read.get_parameter(f"weight_ih_l{i}").detach().var(unbiased=False))
    assert stack.left == pytest.approx(wanted, rel=1e-3)
    assert stack.left == pytest.approx((LEFT[kind] / 3) ** (layers - 1), rel=0.2), "PyTorch starts at 1/(3 · width)"


def test_one_layer_is_no_stack() -> None:
    model = Reader("LSTM", 1)
    assert measured(model) == []
