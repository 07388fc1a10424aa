from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from init_monitor import check
from init_monitor.analysis.activations import ACTIVATIONS
from init_monitor.analysis.mirrored_chains import LEAST, mirrored_layers, slope_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor.analysis.activations import Activation

FUNCTIONS = {one.name: getattr(nn.functional, one.functions[0], None) for one in ACTIVATIONS if one.functions}


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda one: one.name)
def test_the_table_says_of_which_activations_the_odd_part_is_linear(activation: Activation) -> None:
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    function = FUNCTIONS.get(activation.name)
    if activation.name == "PReLU":
        odd = nn.functional.leaky_relu(z, 0.25) - nn.functional.leaky_relu(-z, 0.25)
    elif activation.name == "Identity":
        odd = 2 * z
    elif activation.name == "RReLU" or function is None or activation.shape in {"gate", "distribution"}:
        assert not activation.odd_part_is_linear  # another slope for each sign and draw, or not element by element
        return
    elif activation.name == "Threshold":
        odd = function(z, 0.1, 20.0) - function(-z, 0.1, 20.0)
    elif activation.name == "Sin":
        odd = z.sin()
    else:
        odd = function(z) - function(-z)
    slope = (odd @ z) / (z @ z)
    linear = bool(torch.allclose(odd, slope * z, atol=1e-6))
    # What is linear anyway needs no pairs.
    assert activation.odd_part_is_linear is (linear and activation.name != "Identity")
    if linear and activation.name != "Identity":
        assert float(slope) == pytest.approx(1 + (activation.negative_slope or 0.0))


def chain(depth: int, make: Callable[[], nn.Module] = nn.ReLU, width: int = 12) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(6, width), make()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), make()]
    return nn.Sequential(*layers, nn.Linear(width, 3))


def found(net: nn.Module, batch: Tensor) -> dict[str, bool]:
    return dict(mirrored_layers(check(net, batch).structure))


def test_a_chain_is_deep_from_as_many_rectifiers_as_make_nine_tenths_of_the_variance_common() -> None:
    correlation = 0.0
    for _ in range(LEAST):
        c = torch.tensor(correlation, dtype=torch.float64)
        correlation = float(((1 - c**2).sqrt() + c * (torch.pi - c.acos())) / torch.pi)
    assert correlation > 0.89
    assert found(chain(LEAST - 1), torch.randn(9, 6)) == {}
    assert found(chain(LEAST), torch.randn(9, 6)) == {str(2 * i): i == 0 for i in range(LEAST)}


def test_the_output_layer_and_layers_before_other_activations_are_in_no_chain() -> None:
    assert found(chain(14, nn.Tanh), torch.randn(9, 6)) == {}
    assert found(chain(14, nn.ELU), torch.randn(9, 6)) == {}
    assert "28" not in found(chain(14, nn.GELU), torch.randn(9, 6))


def test_a_normalisation_or_a_skip_in_the_chain_ends_it() -> None:
    normalised = nn.Sequential(*chain(11), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 6), nn.ReLU(), *chain(8))
    assert found(normalised, torch.randn(9, 6)) == {}

    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(16))

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = x + layer(x).relu()
            return x

    assert found(Skipping(), torch.randn(9, 6)) == {}


def test_pooling_dropout_and_flattening_are_part_of_a_chain_and_a_layer_called_twice_is_not() -> None:
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()]
    for i in range(11):
        layers += [nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), *([nn.MaxPool2d(2)] if i == 3 else [])]
    net = nn.Sequential(*layers, nn.Dropout(0.1), nn.Flatten(), nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 4))
    in_chain = found(net, torch.randn(5, 3, 8, 8))
    assert len(in_chain) == 13
    assert [name for name, first in in_chain.items() if first] == ["0"]

    class Repeating(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(16):
                x = self.layer(x).relu()
            return x

    assert found(Repeating(), torch.randn(9, 6)) == {}


def test_the_slope_is_the_modules_own_or_that_of_torchs_default() -> None:
    for make, slope in ((lambda: nn.LeakyReLU(0.2), 0.2), (nn.LeakyReLU, 0.01), (nn.ReLU, 0.0), (nn.GELU, 0.0)):
        structure = check(chain(3, make), torch.randn(9, 6)).structure
        assert slope_of(structure.layers[0]) == pytest.approx(slope)
