"""The share of the variance that lies between samples, where a large mean would swallow it in float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import init_monitor


class Shifted(nn.Module):
    """Adds a large mean to what it gets."""

    def __init__(self, mean: float) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor(mean))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.mean


@pytest.mark.parametrize("mean", [0.0, 30.0, 1e3])
@pytest.mark.parametrize("shape", [(64, 32), (64, 7, 32), (300, 512)])
def test_it_agrees_with_a_naive_computation_at_any_mean(mean: float, shape: tuple[int, ...]) -> None:
    x = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    report = init_monitor.check(nn.Sequential(Shifted(mean)), x, strict=True)
    seen = (x + mean).double()
    signal = seen.mean(1) if seen.dim() > 2 else seen
    expected = float(signal.var(0, correction=0).mean() / seen.var(correction=0))
    assert report.records[-1].layers["0"].between_sample_share == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_the_last_states_of_a_recurrent_layer_are_of_samples_and_not_of_its_layers(
    kind: Any, *, batch_first: bool
) -> None:
    torch.manual_seed(0)
    module = kind(6, 16, num_layers=3, batch_first=batch_first)
    x = torch.randn(20, 5, 6) if batch_first else torch.randn(5, 20, 6)
    report = init_monitor.check(nn.Sequential(module), x, strict=True)
    made = module(x)
    states = {"0[1][0]": made[1][0], "0[1][1]": made[1][1]} if kind is nn.LSTM else {"0[1]": made[1]}
    sequence = made[0] if batch_first else made[0].transpose(0, 1)
    seen = {"0[0]": sequence, **{name: state.transpose(0, 1) for name, state in states.items()}}
    layers = report.records[-1].layers
    assert seen.keys() <= layers.keys() | {"0[0]"}
    for name, values in seen.items():
        exact = values.detach().double()
        expected = float(exact.mean(1).var(0, correction=0).mean() / exact.var(correction=0))
        assert layers[name if name in layers else "0"].between_sample_share == pytest.approx(expected, rel=0.01)
