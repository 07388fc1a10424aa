"""Factors whose product starts at a saddle, beside starts that are as small and are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import init_monitor
from init_monitor import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    Made = Callable[[], nn.Module]

ROWS, COLUMNS, RANK = 60, 40, 8


class Product(nn.Module):
    """Numbers of a matrix as products of rows of two tables."""

    def __init__(self, deviation: float, *, bias: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rows, self.columns = nn.Embedding(ROWS, RANK), nn.Embedding(COLUMNS, RANK)
        for table in (self.rows, self.columns):
            nn.init.normal_(table.weight, std=deviation)
        self.mean = nn.Embedding(ROWS, 1) if bias else None
        if self.mean is not None:
            nn.init.zeros_(self.mean.weight)

    def forward(self, places: Tensor) -> Tensor:
        product: Tensor = (self.rows(places[:, 0]) * self.columns(places[:, 1])).sum(1)
        if self.mean is not None:
            product = product + self.mean(places[:, 0])[:, 0]
        return product


class Towers(nn.Module):
    """Two small networks whose outputs are multiplied."""

    def __init__(self, last: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.towers = nn.ModuleList(
            nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, RANK, bias=False)) for _ in range(2)
        )
        for tower in self.towers.children():
            nn.init.normal_(tower.get_parameter("2.weight"), std=last)

    def forward(self, places: Tensor) -> Tensor:
        scaled = places / torch.tensor([ROWS, COLUMNS])
        a, b = (tower(scaled) for tower in self.towers)
        product: Tensor = (a * b).sum(1)
        return product


def zero_head() -> nn.Module:
    torch.manual_seed(0)
    head = nn.Linear(32, 1)
    nn.init.zeros_(head.weight)
    return nn.Sequential(nn.Linear(2, 32), nn.Tanh(), head, nn.Flatten(0))


def told(model: nn.Module, *, adam: bool = False, rate: float = 1.0, steps: int = 110) -> list[Finding]:
    generator = torch.Generator().manual_seed(0)
    full = torch.randn(ROWS, 3, generator=generator) @ torch.randn(3, COLUMNS, generator=generator) / 3**0.5
    kind = torch.optim.Adam if adam else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=1e-2 if adam else rate)
    with init_monitor.watch(model, optimizer=optimizer, sinks=(), strict=True) as watched:
        for _ in range(steps):
            row = torch.randint(0, ROWS, (256,), generator=generator)
            column = torch.randint(0, COLUMNS, (256,), generator=generator)
            places = torch.stack([row, column], 1)
            with watched.step() as now:
                given = places.float() if isinstance(model, nn.Sequential) else places
                loss = F.mse_loss(model(given), full[row, column])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                now.loss = loss
    return [one for one in watched.findings if one.severity > Severity.INFO and "noticed" in one.evidence]


@pytest.mark.parametrize("make", [lambda: Product(1e-4), lambda: Product(1e-5)])
def test_factors_that_hold_each_other_down_are_told(make: Made) -> None:
    found = told(make())
    assert [one.code for one in found] == ["IM502"]
    assert len(found[0].layers) == 2
    assert found[0].step <= 100
    assert "larger" in found[0].remedy_sentence
    compile(found[0].remedy_code, "remedy", "exec")


def test_the_remedy_learns_what_the_start_did_not() -> None:
    model = Product(1e-4)
    found = told(model, steps=60)
    exec(found[0].remedy_code, {"model": model})  # noqa: S102 - what the finding says is what is tried
    assert float(model.rows.weight.detach().std()) == pytest.approx(0.5 * RANK**-0.25, rel=0.1)
    assert told(model) == []


@pytest.mark.parametrize(
    ("make", "adam"),
    [
        (lambda: Product(0.1), False),
        (lambda: Product(1e-2), False),  # small as well, but on its way
        (lambda: Product(1e-4), True),  # whose steps do not know how small the gradient is
        (lambda: Product(1e-4, bias=True), False),  # the mean of each row is learned meanwhile
        (zero_head, False),
        (lambda: Towers(0.3), False),
    ],
)
def test_other_small_starts_are_left_alone(make: Made, *, adam: bool) -> None:
    assert told(make(), adam=adam, rate=0.1 if make is zero_head else 1.0) == []


def test_nothing_is_said_of_a_run_that_is_resumed_or_too_short() -> None:
    assert told(Product(1e-4), steps=40) == []
