"""The share of the variance that lies between samples, where a large mean would swallow it in float32."""

from __future__ import annotations

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
