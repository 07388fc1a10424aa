"""Parameters that begin off in other ways than the variance of a weight: not centred, scales, biases, phases of sines (IM502)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from init_monitor import Finding, Severity, check

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 32


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mix = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.feed = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        x = x + self.mix(h, h, h, need_weights=False)[0]
        out: Tensor = x + self.feed(self.second(x))
        return out


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block() for _ in range(3)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 8)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.norm(self.blocks(x)))
        return out


def plain() -> nn.Module:
    parts: list[nn.Module] = []
    for _ in range(4):
        parts += [nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(WIDTH, 8))


def bare() -> nn.Module:
    return nn.Sequential(
        *(part for _ in range(3) for part in (nn.Linear(WIDTH, WIDTH), nn.ReLU())), nn.Linear(WIDTH, 8)
    )


def changed(make: Callable[[], nn.Module], change: Callable[[str, Tensor], object]) -> nn.Module:
    torch.manual_seed(0)
    net = make()
    with torch.no_grad():
        for name, one in net.named_parameters():
            change(name, one)
    return net


def told(net: nn.Module, *shape: int) -> list[Finding]:
    torch.manual_seed(1)
    found = check(net, torch.randn(64, *(shape or (WIDTH,)))).findings
    return [one for one in found if one.code == "IM502" and one.severity > Severity.INFO]


def mended(net: nn.Module, finding: Finding) -> nn.Module:
    exec(finding.remedy_code, {"model": net})  # noqa: S102 - what is printed is what is run
    return net


def matrices(fill: Callable[[Tensor], object]) -> Callable[[str, Tensor], object]:
    return lambda _, one: fill(one) if one.dim() > 1 else None


def test_weights_of_one_sign_are_named_where_nothing_else_shows_them() -> None:
    net = changed(Transformer, matrices(lambda one: one.uniform_(0, 0.1)))
    (finding,) = told(net, 6, WIDTH)
    assert "not centred" in finding.message
    # The mean of U(0, a) is √3 times its standard deviation.
    assert finding.evidence["mean_over_spread"] == pytest.approx(math.sqrt(3), rel=0.05)
    assert {"blocks.2.feed.2", "head"} <= set(finding.layers)
    assert told(mended(net, finding), 6, WIDTH) == []
    weights = [one for one in net.parameters() if one.dim() > 1]
    assert all(abs(float(one.detach().mean())) < 0.1 * float(one.detach().std()) for one in weights)


@pytest.mark.parametrize(
    "change",
    [
        lambda *_: None,
        matrices(lambda one: one.uniform_(-0.1, 0.2)),  # a mean of 0.58 of the spread
        lambda name, one: one.abs_() if name.startswith("blocks.0") and one.dim() > 1 else None,
        lambda name, one: one.fill_(0.0) if name.endswith("feed.2.weight") else None,
    ],
    ids=["torch's own", "not quite centred", "one block of positive weights", "ends of zero"],
)
def test_usual_weights_are_not(change: Callable[[str, Tensor], object]) -> None:
    assert told(changed(Transformer, change), 6, WIDTH) == []


def scales(value: float, where: str = "") -> Callable[[str, Tensor], object]:
    return lambda name, one: one.fill_(value) if one.dim() == 1 and name.endswith("weight") and where in name else None


@pytest.mark.parametrize(("make", "value"), [(plain, 0.01), (Transformer, 0.01), (Transformer, 10.0)])
def test_scales_far_from_1_are_named_and_set_to_1(make: Callable[[], nn.Module], value: float) -> None:
    net = changed(make, scales(value))
    shape = (6, WIDTH) if make is Transformer else (WIDTH,)
    found = [one for one in told(net, *shape) if "scale" in one.evidence]
    (finding,) = found
    assert finding.evidence["scale"] == pytest.approx(value)
    before = {name: one.clone() for name, one in net.named_parameters()}
    assert [one for one in told(mended(net, finding), *shape) if "scale" in one.evidence] == []
    for name, one in net.named_parameters():
        scale = one.dim() == 1 and name.endswith("weight")
        assert torch.equal(one, torch.ones_like(one) if scale else before[name])


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (plain, scales(0.1)),  # as in a recurrent network
        (plain, scales(10.0)),  # the next normalisation takes it out, and nothing saturates
        (Transformer, scales(0.0, "second")),  # ends and offsets from 1 may be zero
        (Transformer, scales(0.01, "second")),  # three of seven
    ],
    ids=["0.1", "10 before ReLU", "zeros", "some"],
)
def test_other_scales_are_not(make: Callable[[], nn.Module], change: Callable[[str, Tensor], object]) -> None:
    shape = (6, WIDTH) if make is Transformer else (WIDTH,)
    assert told(changed(make, change), *shape) == []


def biases(fill: Callable[[Tensor], object], where: str = "") -> Callable[[str, Tensor], object]:
    return lambda name, one: fill(one) if name.endswith("bias") and where in name else None


def test_biases_that_outweigh_the_signal_are_named_and_all_large_ones_start_at_zero() -> None:
    net = changed(bare, biases(lambda one: one.uniform_(-10, 10)))
    (finding,) = told(net)
    assert finding.layers == ("0",)  # what the others receive is large by then, through those of the first
    mended(net, finding)
    assert told(net) == []
    assert all(not one.any() for name, one in net.named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize(
    "change",
    [
        lambda *_: None,
        biases(lambda one: one.normal_(0, 1)),
        biases(lambda one: one.normal_(0, 30), "6."),  # what the targets are
        biases(lambda one: one.fill_(1.0)),
    ],
    ids=["torch's own", "N(0, 1)", "of the output", "ones"],
)
def test_usual_biases_are_not(change: Callable[[str, Tensor], object]) -> None:
    assert told(changed(bare, change)) == []


class Sines(nn.Module):
    def __init__(self, frequency: float, *, right: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frequency = frequency
        self.layers, self.out = (
            nn.ModuleList([nn.Linear(2, 64), nn.Linear(64, 64), nn.Linear(64, 64)]),
            nn.Linear(64, 1),
        )
        if right:
            for k, layer in enumerate([*self.layers, self.out]):
                bound = math.sqrt(6 / 64) / frequency if k else 0.5
                nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.sin(self.frequency * layer(x))
        out: Tensor = self.out(x)
        return out


def test_weights_that_turn_a_sine_through_whole_periods_are_named_at_the_first_step() -> None:
    net = Sines(30.0, right=False)
    (finding,) = told(net, 2)
    assert finding.layers == ("layers.1", "layers.2")
    # 30² times fan_in · 1/(3 · fan_in), halved by the sine before.
    assert finding.evidence["gain_from_weights"] == pytest.approx(150, rel=0.1)
    assert told(mended(net, finding), 2) == []
    bound = math.sqrt(6 / 64) / 30
    assert float(net.get_parameter("layers.2.weight").detach().abs().max()) == pytest.approx(bound, rel=0.05)


@pytest.mark.parametrize(
    "net",
    [Sines(30.0, right=True), Sines(1.0, right=False), Sines(5.0, right=False)],
    ids=["its authors' weights", "torch's own at 1", "at 5"],
)
def test_usual_sines_are_not(net: nn.Module) -> None:
    assert told(net, 2) == []


def test_random_fourier_features_are_frequencies_of_the_input() -> None:
    class Features(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.waves, self.body = nn.Linear(2, 64), bare_of(64)
            nn.init.normal_(self.waves.weight, std=30)
            nn.init.uniform_(self.waves.bias, 0, 2 * math.pi)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.body(torch.sin(self.waves(x)))
            return out

    def bare_of(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(width, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))

    assert told(Features(), 2) == []
