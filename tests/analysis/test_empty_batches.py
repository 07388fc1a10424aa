"""Batches that ask for nothing, in a run that learns by the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytorch_lightning as pl
import torch
from builders import linears, record
from models import fit
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from init_monitor import InitMonitor
from init_monitor.analysis.empty_batches import only_some_batches
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import StepRecord

NET = linears(2)


def rest(step: int, moved: float, *, norm: float = 1.0, momentum: float = 0.9, decay: float = 0.0) -> StepRecord:
    columns = {Quantity.UPDATE_RATIO: moved, Quantity.WEIGHT_NORM: norm, Quantity.WEIGHT_GRADIENT_NORM: 0.0}
    return record(NET, columns, step=step, learning_rate=0.01, momentum=momentum, weight_decay=decay)


def alone(*resting: StepRecord) -> bool:
    """Judge records without a gradient that ten with one came before."""
    before = [rest(step, 0.01) for step in range(10)]
    return only_some_batches([*before, *resting], resting[::-1], [False] * 10 + [True] * len(resting))


def test_what_momentum_leaves_over_is_no_gradient_and_what_is_more_is_one() -> None:
    assert not alone(rest(10, 1e-3), rest(50, 1e-3 * 0.9**40), rest(100, 0.0))
    assert alone(rest(10, 1e-3), rest(50, 9e-4), rest(100, 1e-3))
    assert not alone(rest(10, 1e-3, momentum=0.99), rest(50, 7e-4, momentum=0.99)), "it may be left over"
    assert not alone(rest(10, 1e-3), rest(11, 1e-3)), "nothing came between"


def test_weight_decay_moves_weights_without_a_gradient() -> None:
    assert not alone(rest(10, 1e-5, decay=1e-3), rest(50, 1e-5, decay=1e-3))


def test_plain_descent_leaves_a_weight_the_same_number() -> None:
    assert not alone(rest(10, 0.0), rest(50, 0.0))
    assert alone(rest(10, 0.0), rest(50, 0.0, norm=1.01))
    assert not alone(rest(10, 0.0), rest(50, 0.0, norm=1.01), rest(100, 0.0, norm=1.01)), "it has died since"


@pytest.mark.parametrize(
    ("before", "count", "single"), [(5, 3, True), (5, 7, False), (1, 2, True), (1, 3, False), (0, 3, False)]
)
def test_as_many_in_a_row_as_chance_makes_say_nothing(before: int, count: int, *, single: bool) -> None:
    """Of ten records `before` had none: the chance of `count` in a row is (before / 10)^count."""
    records = [rest(step, 0.0) for step in range(10 + count)]
    rests = [step < before for step in range(10)] + [True] * count
    assert only_some_batches(records, records[10:], rests) is single


class Overlap(pl.LightningModule):
    """A Tversky loss in batches of which almost half hold no object, so that no parameter gets a gradient there."""

    def __init__(self, optimizer: str) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.net = nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 1))

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        score, mask = self.net(batch[0]).sigmoid(), batch[1]
        loss: Tensor = 1 - (score * mask).sum() / (0.3 * score + 0.7 * mask).sum()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        made: torch.optim.Optimizer = getattr(torch.optim, self.optimizer)(self.parameters(), lr=1e-2)
        return made


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
@pytest.mark.parametrize("seed", range(4))
def test_a_run_whose_batches_are_often_empty_does_not_stand_still(optimizer: str, seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.randn(512, 12)
    data = DataLoader(TensorDataset(x, (x[:, :1] > 1.4).float()), batch_size=8)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Overlap(optimizer), data, monitor, steps=180, max_epochs=-1)
    assert "IM604" not in {one.code for one in monitor.findings}
