"""The table of activations: every number again, by numerical integration and from samples of what torch computes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from init_monitor.analysis.activations import ACTIVATIONS, BY_KEY, Activation, Shape, activation_called, key_of
from init_monitor.structure.nonlinearities import NONLINEARITIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Function = Callable[[Tensor], Tensor]

Z = torch.linspace(-12, 12, 480_001, dtype=torch.float64)
DENSITY = torch.exp(-(Z**2) / 2) / math.sqrt(2 * math.pi)
SAMPLES = 400_000

GATES: dict[str, Function] = {
    "GLU": torch.sigmoid,
    "ReGLU": torch.relu,
    "GEGLU": nn.functional.gelu,
    "SwiGLU": nn.functional.silu,
}
ELEMENTWISE = [
    one
    for one in ACTIVATIONS
    if one.shape not in {Shape.GATE, Shape.DISTRIBUTION} and one.name not in {"Threshold", "RReLU"}
]


def function_of(one: Activation) -> Function:
    if one.name == "Sin":
        return torch.sin
    module: nn.Module = getattr(nn, one.name)()
    return module.double()


def by_name(rows: list[Activation]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("one", rows, ids=[row.name for row in rows])


def integral(values: Tensor) -> float:
    return float(torch.trapezoid(values.detach() * DENSITY, Z))


def differentiated(function: Function, at: Tensor) -> tuple[Tensor, Tensor]:
    at = at.clone().requires_grad_()
    out = function(at)
    (slope,) = torch.autograd.grad(out.sum(), at)
    return out.detach(), slope


@by_name(ELEMENTWISE)
def test_the_moments_are_the_integrals(one: Activation) -> None:
    out, slope = differentiated(function_of(one), Z)
    assert one.moments.mean == pytest.approx(integral(out), abs=1e-4)
    assert one.moments.mean_square == pytest.approx(integral(out**2), rel=1e-4)
    assert one.moments.slope_mean_square == pytest.approx(integral(slope**2), rel=1e-4)


@by_name(ELEMENTWISE)
def test_the_moments_are_those_of_a_sample(one: Activation) -> None:
    z = torch.randn(SAMPLES, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    out, slope = differentiated(function_of(one), z)
    # 400,000 samples scatter by 1/630 of their standard deviation.
    assert one.moments.mean == pytest.approx(float(out.mean()), abs=0.01)
    assert one.moments.mean_square == pytest.approx(float(out.square().mean()), rel=0.02)
    assert one.moments.slope_mean_square == pytest.approx(float(slope.square().mean()), rel=0.02)


def test_the_random_slope_of_rrelu_counts_with_its_mean_square() -> None:
    one = BY_KEY["rrelu"]
    z = torch.randn(SAMPLES, generator=torch.Generator().manual_seed(0))
    out, slope = differentiated(nn.RReLU().train(), z)
    assert one.moments.mean == pytest.approx(float(out.mean()), abs=0.01)
    assert one.moments.mean_square == pytest.approx(float(out.square().mean()), rel=0.02)
    assert one.moments.slope_mean_square == pytest.approx(float(slope.square().mean()), rel=0.02)


@pytest.mark.parametrize("name", GATES)
def test_a_gate_is_one_half_times_a_function_of_the_other(name: str) -> None:
    moments = BY_KEY[key_of(name)].moments
    generator = torch.Generator().manual_seed(0)
    both = torch.randn(SAMPLES, 2, dtype=torch.float64, generator=generator)

    def gate(x: Tensor) -> Tensor:
        return x[:, :1] * GATES[name](x[:, 1:])

    if name == "GLU":
        assert torch.equal(gate(both[:5]), nn.GLU()(both[:5]))
    out, slope = differentiated(gate, both)
    inside, inner = differentiated(GATES[name], Z)
    assert moments.mean == pytest.approx(float(out.mean()), abs=0.01)
    assert moments.mean_square == pytest.approx(integral(inside**2), rel=1e-4)
    assert moments.mean_square == pytest.approx(float(out.square().mean()), rel=0.02)
    assert moments.slope_mean_square == pytest.approx((integral(inside**2) + integral(inner**2)) / 2, rel=1e-4)
    assert moments.slope_mean_square == pytest.approx(float(slope.square().mean()), rel=0.02)


@by_name(ELEMENTWISE)
def test_the_slopes_lie_in_their_range_and_reach_its_end(one: Activation) -> None:
    _, slope = differentiated(function_of(one), Z[1:])
    steep = slope.abs()
    assert one.slopes.smallest == pytest.approx(float(steep.min()), abs=0.006)
    assert one.slopes.largest == pytest.approx(float(steep.max()), rel=1e-3)


@by_name(ELEMENTWISE)
def test_what_is_said_of_zero_holds(one: Activation) -> None:
    value, slope = differentiated(function_of(one), torch.zeros(1, dtype=torch.float64))
    assert one.at_zero == pytest.approx(float(value))
    if one.near_identity:
        assert (float(value), float(slope)) == (0, 1)
    if one.flat_below:
        assert not differentiated(function_of(one), Z[Z < 0])[1].any()


@by_name(ELEMENTWISE)
def test_the_shape_is_what_the_function_shows(one: Activation) -> None:
    out, slope = differentiated(function_of(one), Z)
    flat_around_zero = float(slope[(Z.abs() < 0.01)].abs().max()) < 0.01
    assert (one.shape is Shape.RECTIFIER) == (
        torch.equal(out > 0, Z > 0) and float(out[0]) > -6 and one.shape is not Shape.BOUNDED
    )
    assert (one.shape is Shape.SHRINKING) == flat_around_zero
    if one.shape is Shape.BOUNDED:
        assert float(out.abs().max()) <= 1
    if one.shape is Shape.SMOOTH:
        assert one.at_zero


def test_every_name_is_one_activation_alone() -> None:
    names = [key_of(name) for one in ACTIVATIONS for name in one.names]
    assert len(BY_KEY) == len(set(names))
    assert all(BY_KEY[key_of(name)] is one for one in ACTIVATIONS for name in one.names)


def test_a_name_is_one_however_it_is_written() -> None:
    names = ("leaky_relu", "LeakyReLU", "leakyrelu", "LEAKY_RELU")
    assert {one.name for one in map(activation_called, names) if one} == {"LeakyReLU"}
    assert activation_called(None) is activation_called("MyActivation") is None


def test_every_activation_of_torch_is_in_the_table() -> None:
    every = {
        name
        for name in nn.modules.activation.__all__
        if name not in {"MultiheadAttention", "Softmax2d"}  # no activation, and an alias
    }
    assert every == {one.__name__ for one in NONLINEARITIES}


def test_functions_are_named_as_torch_names_them() -> None:
    for one in ACTIVATIONS:
        for name in one.functions[:1]:
            assert hasattr(nn.functional, name)


def test_probabilities_sum_to_one_and_nothing_else_does() -> None:
    x = torch.randn(4, 6, dtype=torch.float64)
    for one in ACTIVATIONS:
        if one.shape is Shape.DISTRIBUTION:
            total = getattr(nn.functional, one.functions[0])(x, dim=-1).sum(dim=-1)
            assert one.sums_to_one is bool(torch.allclose(total, torch.ones(4, dtype=torch.float64)))
        else:
            assert not one.sums_to_one
