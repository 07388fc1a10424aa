"""Layers whose weight is computed: reading it would compute it once more, and spectral norm changes at each reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from models import Classifier, fit, loader
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from init_monitor import InitMonitor
from init_monitor.structure.fans import fans_of

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("norm", [spectral_norm, weight_norm])
def test_a_parametrized_layer_is_measured_like_any_other_and_not_changed(
    norm: Callable[[nn.Module], nn.Module],
) -> None:
    def train(monitor: InitMonitor | None) -> Classifier:
        torch.manual_seed(0)
        module = Classifier(nn.Sequential(norm(nn.Linear(8, 16)), nn.ReLU(), norm(nn.Linear(16, 10))))
        fit(module, loader(8, samples=96, batch=8), monitor, steps=12)
        return module

    monitor = InitMonitor(sinks=(), strict=True, dense_steps=3, every_n_steps=4)
    watched, plain = train(monitor), train(None)
    assert watched.losses == plain.losses
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in watched.state_dict().items())
    assert monitor.structure.names == ("net.0", "net.1", "net.2")
    assert [(layer.kind, layer.fan_in) for layer in monitor.structure.layers][::2] == [
        ("ParametrizedLinear", 8),
        ("ParametrizedLinear", 16),
    ]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(6, 4),
        nn.Conv2d(6, 4, 3, groups=2, stride=2),
        nn.Conv1d(6, 8, 5),
        nn.ConvTranspose2d(6, 4, 3, groups=2, stride=2),
    ],
)
def test_the_fans_are_those_of_torch_without_reading_the_weight(layer: nn.Module) -> None:
    expected = nn.init._calculate_fan_in_and_fan_out(layer.get_parameter("weight"))
    assert fans_of(layer)[:2] == expected
