from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from builders import linear
from torch import nn

from init_monitor.analysis.dtypes import FORMATS, format_of, layers_until
from init_monitor.analysis.gains import GLOROT, HE, gain_source, gains_around, healthy_backward_gain, healthy_gain
from init_monitor.analysis.optimizers import epsilon_of
from init_monitor.analysis.segments import theil_sen
from init_monitor.remedies import phrases

Z = torch.linspace(-12, 12, 480_001, dtype=torch.float64)
DENSITY = torch.exp(-(Z**2) / 2) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize(
    "activation",
    [
        nn.ReLU(),
        nn.LeakyReLU(),
        nn.PReLU(dtype=torch.float64),
        nn.GELU(),
        nn.SiLU(),
        nn.Mish(),
        nn.Hardswish(),
        nn.ELU(),
        nn.CELU(),
        nn.SELU(),
    ],
    ids=lambda m: type(m).__name__,
)
def test_a_gain_undoes_what_the_activation_takes_from_a_standard_normal(activation: nn.Module) -> None:
    z = Z.clone().requires_grad_()
    out = activation(z)
    (slope,) = torch.autograd.grad(out.sum(), z)
    known = gains_around(type(activation).__name__)
    assert known is not None
    assert known.forward == pytest.approx(1 / float(torch.trapezoid(out.detach() ** 2 * DENSITY, Z)), rel=1e-3)
    assert known.backward == pytest.approx(1 / float(torch.trapezoid(slope**2 * DENSITY, Z)), rel=1e-3)


def test_functional_and_module_names_are_one() -> None:
    assert gains_around("leaky_relu") == gains_around("LeakyReLU")


def test_an_unknown_activation_asks_for_no_gain_unless_it_is_flat_below_zero() -> None:
    assert gains_around("MyActivation") is None
    known = gains_around("MyReLU", flat_below=True)
    assert known is not None
    assert known.forward == 2


def test_a_layer_before_a_normalisation_needs_no_gain() -> None:
    assert math.isnan(healthy_gain(linear(0, "a", activation="ReLU", normalised=True)))
    assert math.isnan(healthy_backward_gain(linear(0, "a", normalised=True)))
    assert math.isnan(healthy_backward_gain(None))
    assert (
        healthy_gain(linear(0, "a", activation="ReLU")) == healthy_backward_gain(linear(0, "a", activation="ReLU")) == 2
    )


def test_the_source_follows_the_activation() -> None:
    assert gain_source("ReLU") == HE
    assert gain_source(None) == gain_source("Tanh") == gain_source("Unknown") == GLOROT


@pytest.mark.parametrize("name", list(FORMATS))
def test_the_formats_are_those_of_torch(name: str) -> None:
    known = torch.finfo(getattr(torch, name))
    assert (format_of(f"torch.{name}").largest, format_of(name).smallest_normal) == (known.max, known.smallest_normal)


@pytest.mark.parametrize(
    ("value", "limit", "growth", "layers"),
    [
        (1.0, 8.0, 4.0, 3),
        (1.0, 9.0, 4.0, 4),
        (1.0, 1 / 8, 1 / 4, 3),
        (8.0, 8.0, 4.0, 0),
        (1.0, 8.0, 0.5, math.inf),
        (1.0, 8.0, 1.0, math.inf),
        (0.0, 8.0, 4.0, math.inf),
        (math.nan, 8.0, 4.0, math.inf),
    ],
)
def test_layers_until_a_limit_counts_the_doublings_of_the_magnitude(
    value: float, limit: float, growth: float, layers: float
) -> None:
    assert layers_until(value, limit, growth) == layers


def test_the_slope_ignores_a_fifth_of_wild_points() -> None:
    x = np.arange(20, dtype=np.float64)
    y = np.asarray(0.5 * x, dtype=np.float64)
    y[[3, 9, 14, 17]] = 1e6
    assert theil_sen(x, y) == pytest.approx(0.5)
    assert math.isnan(theil_sen(x[:1], y[:1]))


def test_rescaling_optimizers_are_known_by_their_class_names() -> None:
    for name in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "AdamW8bit", "FusedAdam", "RMSprop"):
        assert epsilon_of(name) == 1e-8
    assert epsilon_of("Lamb,AdamW") == 1e-6
    assert epsilon_of("SGD") is None
    assert epsilon_of("SGD,Adam") is None


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (1e6, "1e6"), (999_600.0, "1e6"), (0.00012, "0.00012"), (-2.5, "-2.5")]
)
def test_numbers_read_as_a_person_writes_them(value: float, text: str) -> None:
    assert phrases.number(value) == text


def test_a_change_to_nothing_is_said_so() -> None:
    assert phrases.change(0.0) == "shrinks to 0"
