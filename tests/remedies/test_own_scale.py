"""Layers of a class of one's own whose factor is missing: found as such, and mended where the factor belongs."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from init_monitor import check


class Scaled(nn.Module):
    """Weights from N(0, std²), and a factor in the forward."""

    def __init__(self, fan_in: int, fan_out: int, factor: float, std: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(std * torch.randn(fan_out, fan_in))
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight) * self.factor


def network(factor: float = 1.0, std: float = 1.0) -> nn.Sequential:
    torch.manual_seed(0)
    widths = (48, *[80] * 6, 10)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [Scaled(fan_in, fan_out, factor, std), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def batch() -> Tensor:
    return torch.randn(64, 48, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("code", ["IM101", "IM201"])
def test_the_factor_is_put_behind_the_layer_and_the_weights_stay(code: str) -> None:
    model = network()
    before = [parameter.clone() for parameter in model.parameters()]
    finding = next(one for one in check(model, batch()).findings if one.code == code)
    assert "equalised learning rates" in finding.remedy
    exec(finding.remedy_code, {"model": model})  # noqa: S102 - it is the code a user is asked to paste
    assert not check(model, batch()).findings
    assert all(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize(("factor", "std"), [(1.0, 0.7), (0.5, 1.0), (0.5, 2.0)])
def test_weights_of_another_size_or_a_factor_that_is_there_are_initialised_anew(factor: float, std: float) -> None:
    finding = next(one for one in check(network(factor, std), batch()).findings if one.code == "IM101")
    assert "register_forward_hook" not in finding.remedy_code
    assert "nn.init." in finding.remedy_code
