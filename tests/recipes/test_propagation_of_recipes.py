"""Every recipe by what it is for: variances forward and backward over 50 layers, measured on the real network."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from models import Block, add, mlp
from torch import nn

import init_monitor
from init_monitor import recipes
from init_monitor.analysis.gains import gains_around

if TYPE_CHECKING:
    from collections.abc import Callable

    Sum = Callable[..., torch.Tensor]

pytestmark = pytest.mark.untraced

DEPTH = 50
WIDTH = 256
SAMPLES = 256

DRAWN = 3.0
"""Factor that a draw of 50 layers 256 wide may be off: each multiplies the variance by 1 ± sqrt(5/256) (the kurtosis of a
ReLU's output makes it 5), so ln Var scatters by sqrt(50 · 5/256) = 1, and e = 2.7 is one such step."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def growth(net: nn.Module, *, seed: int = 0, width: int = WIDTH) -> tuple[float, float]:
    """Var(out)/Var(in) of the network forward, and of the gradient from output to input backward."""
    x = torch.randn(SAMPLES, width, generator=seeded(seed), requires_grad=True)
    out = net(x)
    cotangent = torch.randn(out.shape, generator=seeded(seed + 1))
    out.backward(cotangent)
    assert x.grad is not None
    return float(out.detach().var() / x.detach().var()), float(x.grad.var() / cotangent.var())


def within(value: float, factor: float) -> bool:
    return 1 / factor < value < factor


def linear_stack(activation: Callable[[], nn.Module] | None, depth: int = DEPTH) -> nn.Sequential:
    return mlp(depth - 1, WIDTH, activation=activation, classes=WIDTH)


@pytest.mark.parametrize(
    ("recipe", "activation"),
    [
        (recipes.he_normal_, nn.ReLU),
        (recipes.he_uniform_, nn.ReLU),
        (partial(recipes.he_normal_, mode="fan_out"), nn.ReLU),
        (partial(recipes.he_normal_, nonlinearity="leaky_relu"), nn.LeakyReLU),
        (partial(recipes.orthogonal_, gain=math.sqrt(2)), nn.ReLU),
        (recipes.lecun_normal_, nn.SELU),
        (recipes.xavier_normal_, None),
        (recipes.xavier_uniform_, None),
        (recipes.orthogonal_, None),
    ],
)
def test_over_50_layers_signal_and_gradient_keep_their_variance(
    recipe: Callable[..., object], activation: type[nn.Module] | None
) -> None:
    net = linear_stack(activation)
    recipe(net, generator=seeded(3))
    forward, backward = growth(net)
    # The last layer has no activation behind it: of its factor only one activation's worth, at most 2, is left over.
    assert within(forward, 2 * DRAWN)
    # One weight variance cannot be right for both passes unless E[f(z)²] and E[f'(z)²] agree, as they do for ReLU.
    gains = gains_around(activation.__name__ if activation is not None else None)
    assert gains is not None
    assert within(backward / (gains.forward / gains.backward) ** (DEPTH - 1), 2 * DRAWN)


def test_xavier_before_tanh_decays_slowly_because_tanh_is_not_quite_the_identity() -> None:
    net = linear_stack(nn.Tanh)
    recipes.xavier_normal_(net, generator=seeded(3))
    forward, _ = growth(net)
    # Near 0 tanh(z)² ≈ z² - 2z⁴/3, so 1/Var grows by about 2 per layer: Var ≈ 1/(1 + 2·50) at layer 50.
    assert forward == pytest.approx(1 / (1 + 2 * DEPTH), rel=0.5)


def test_gelu_is_kept_where_its_input_has_variance_1_and_drifts_over_many_layers() -> None:
    net = linear_stack(nn.GELU, 6)
    recipes.he_normal_(net, nonlinearity="gelu", generator=seeded(3))
    forward, _ = growth(net)
    assert within(forward, DRAWN)
    # Unlike ReLU, E[gelu(z)²]/Var(z) rises with Var(z), so variance 1 is a point that a deep stack leaves.
    z = torch.randn(100_000, generator=seeded())
    gain = recipes.he_variance(1.0, "gelu")
    kept = [gain * float(nn.functional.gelu(s * z).square().mean()) / s**2 for s in (0.5, 1.0, 2.0)]
    assert kept[1] == pytest.approx(1, rel=0.02)
    assert kept[0] < 0.9
    assert kept[2] > 1.05


def test_the_wrong_recipe_shows_as_the_theory_says() -> None:
    net = linear_stack(nn.ReLU, 11)
    recipes.xavier_normal_(net, generator=seeded(3))
    forward, backward = growth(net)
    # Half the mean square is lost at each of 10 ReLUs, forward and backward.
    assert within(forward * 2**10, DRAWN)
    assert within(backward * 2**10, DRAWN)


@pytest.mark.parametrize("seed", [0, 1])
def test_orthogonal_weights_keep_the_variance_exactly(seed: int) -> None:
    net = linear_stack(None)
    recipes.orthogonal_(net, generator=seeded(seed))
    forward, backward = growth(net, seed=seed)
    assert forward == pytest.approx(1, rel=0.02)
    assert backward == pytest.approx(1, rel=0.02)


class Scaled(nn.Module):
    def __init__(self, total: Sum, **place: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.total, self.place = total, place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.total(x, self.second(torch.relu(self.first(torch.relu(x)))), **self.place)
        return out


def test_he_inside_plain_residual_blocks_doubles_the_variance_per_block() -> None:
    net = nn.Sequential(*(Block(WIDTH, add) for _ in range(20)))
    recipes.he_normal_(net, generator=seeded(3))
    forward, backward = growth(net)
    assert forward ** (1 / 20) == pytest.approx(2, rel=0.05)
    assert backward ** (1 / 20) == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("total", [recipes.rescaled_sum, recipes.fixed_weight_sum])
@pytest.mark.parametrize("spread", ["even", "last"])
def test_rescalenet_keeps_both_variances_over_50_blocks(total: Sum, spread: str) -> None:
    net = nn.Sequential(*(Scaled(total, block=k + 1, blocks=DEPTH) for k in range(DEPTH)))
    recipes.rescale_residual_(net, torch.randn(8, WIDTH), spread=spread, generator=seeded(3))
    forward, backward = growth(net)
    assert forward == pytest.approx(1, rel=0.15)
    assert backward == pytest.approx(1, rel=0.15)


def test_a_plain_addition_with_rescaled_branches_grows_twofold_in_all() -> None:
    net = nn.Sequential(*(Block(WIDTH, add) for _ in range(DEPTH)))
    recipes.rescale_residual_(net, torch.randn(8, WIDTH), generator=seeded(3))
    forward, backward = growth(net)
    assert forward == pytest.approx(2, rel=0.15)
    assert backward == pytest.approx(2, rel=0.15)


def test_halving_every_sum_keeps_both_variances_over_50_blocks() -> None:
    net = nn.Sequential(*(Scaled(recipes.halved_sum) for _ in range(DEPTH)))
    recipes.he_normal_(net, generator=seeded(3))
    forward, backward = growth(net)
    assert within(forward, 2)
    assert within(backward, 2)


def test_zero_ends_keep_both_variances_exactly_over_50_blocks() -> None:
    net = nn.Sequential(*(Block(WIDTH, add) for _ in range(DEPTH)))
    recipes.zero_init_residual_(net, torch.randn(8, WIDTH))
    forward, backward = growth(net)
    assert forward == pytest.approx(1)
    assert backward == pytest.approx(1)


def test_fixup_keeps_both_variances_over_50_blocks() -> None:
    net = nn.Sequential(*(Block(WIDTH, add) for _ in range(DEPTH)))
    recipes.fixup_(net, torch.randn(8, WIDTH), generator=seeded(3))
    forward, backward = growth(net)
    assert forward == pytest.approx(1, rel=0.01)
    assert backward == pytest.approx(1, rel=0.01)


def test_lsuv_keeps_both_variances_over_50_layers() -> None:
    net = linear_stack(nn.ReLU)
    recipes.lsuv_(net, torch.randn(SAMPLES, WIDTH, generator=seeded(7)), generator=seeded(3))
    forward, backward = growth(net)
    assert forward == pytest.approx(1, abs=0.15)
    assert within(backward, 2 * DRAWN)


class PreNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.down(nn.functional.gelu(self.up(self.norm(x))))
        return out


def test_gpt_style_adds_the_same_to_the_stream_however_many_blocks_there_are() -> None:
    added = []
    for blocks in (10, 50):
        net = nn.Sequential(*(PreNorm(WIDTH) for _ in range(blocks)))
        recipes.gpt_(net, torch.randn(4, WIDTH), generator=seeded(3))
        forward, backward = growth(net)
        added.append(forward - 1)
        assert within(backward, 1.5)
    # Theory, per stream: n writers of variance 4d · (0.02²/n) · E[gelu(u)²] with Var(u) = d · 0.02².
    u = math.sqrt(WIDTH * 0.02**2) * torch.randn(100_000, generator=seeded(5))
    expected = 4 * WIDTH * 0.02**2 * float(nn.functional.gelu(u).square().mean())
    assert added[0] == pytest.approx(expected, rel=0.3)
    assert added[1] == pytest.approx(expected, rel=0.3)


def test_an_orthogonal_lstm_carries_its_gradient_over_50_steps_where_the_default_loses_it() -> None:
    def reach(layer: nn.LSTM) -> float:
        x = torch.randn(DEPTH, 32, 16, generator=seeded(), requires_grad=True)
        out, _ = layer(x)
        out[-1].backward(torch.randn(32, 64, generator=seeded(1)))
        assert x.grad is not None
        return float(x.grad[0].norm() / x.grad[-1].norm())

    torch.manual_seed(0)
    default = reach(nn.LSTM(16, 64))
    ours = reach(recipes.lstm_(nn.LSTM(16, 64), generator=seeded(3)))
    # A forget gate of sigmoid(1) passes 0.73 per step, one of sigmoid(0) 0.5: over 49 steps 10⁸ lies between them.
    assert ours / default > 1e4


def test_the_embedding_feeds_the_next_layer_a_standard_input() -> None:
    table = recipes.embedding_(nn.Embedding(500, 64), generator=seeded())
    report = init_monitor.check(nn.Sequential(table, nn.Linear(64, 8)), torch.arange(500).view(50, 10))
    assert report.records[0].layers["0"].forward.variance == pytest.approx(1, rel=0.05)
