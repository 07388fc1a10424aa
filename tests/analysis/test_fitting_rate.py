"""The rate that fits, against first-order arithmetic on real gradients, and tried on real trainings by every optimizer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from builders import history, linears, record
from models import Classifier, fit, loader, mlp
from torch import nn

from init_monitor import InitMonitor
from init_monitor.analysis.fitting_rate import APART, BY_LOSS, BY_SIZE, MUCH, SIGNED_SHARE, fitting_rate, moves_of
from init_monitor.analysis.pace import HEALTHY_UPDATE
from init_monitor.records import History, LossStretch
from init_monitor.records.quantities import Quantity

pytestmark = pytest.mark.untraced


def seen(optimizer: str, rate: float, steps: int = 1) -> tuple[Classifier, InitMonitor]:
    torch.manual_seed(0)
    module, monitor = Classifier(mlp(3, 32), lr=rate, optimizer=optimizer), InitMonitor(sinks=(), strict=True)
    fit(module, loader(32, samples=128, batch=32), monitor, steps=steps)
    return module, monitor


def past(monitor: InitMonitor) -> History:
    return History(tuple(monitor.records), monitor.structure)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_it_lies_between_the_rate_of_a_step_of_a_healthy_size_and_that_of_one_that_promises_a_third_of_the_loss(
    optimizer: str,
) -> None:
    rate = 1e-3
    module, monitor = seen(optimizer, rate)
    found = fitting_rate(past(monitor))
    torch.manual_seed(0)
    fresh = Classifier(mlp(3, 32), lr=rate, optimizer=optimizer)
    before = {name: p.detach().double().clone() for name, p in fresh.named_parameters()}
    after = {name: p.detach().double() for name, p in module.named_parameters()}
    # SGD without momentum is stable to half of what it is with: it is counted as twice as far.
    way = 2.0 if optimizer == "SGD" else 1.0
    sizes = [way * float((after[name] - w).norm() / w.norm()) / rate for name, w in before.items() if w.ndim > 1]
    # Few elements have a gradient that Adam's epsilon outweighs: they do not move, and a weight a little less.
    assert found.by_size == pytest.approx(BY_SIZE / float(np.quantile(sizes, MUCH)), rel=1e-2)
    norms = monitor.records[0].parameter_table.by_name(Quantity.WEIGHT_GRADIENT_NORM)
    exact = {name: way * float((after[name] - w).norm()) / rate for name, w in before.items()}
    promised = sum(norms[name] * exact[name] for name in before)
    assert found.by_loss == pytest.approx(BY_LOSS * monitor.records[0].loss / promised, rel=1e-2)
    between, usual = math.sqrt(found.by_size * found.by_loss), found.by_size * HEALTHY_UPDATE[1] / BY_SIZE
    faint = optimizer == "Adam" and found.by_loss > APART * found.by_size
    assert found.value == pytest.approx(min(between, usual) if faint else between)
    assert found.agreed is (found.by_loss < APART * found.by_size)


@pytest.mark.parametrize(("optimizer", "capped"), [("AdamW", True), ("RMSprop", True), ("Lion", True), ("SGD", False)])
def test_where_a_faint_gradient_promises_little_adam_takes_no_step_beyond_the_usual(
    optimizer: str, *, capped: bool
) -> None:
    columns = {
        Quantity.WEIGHT_NORM: 1.0, Quantity.WEIGHT_COUNT: 100.0, Quantity.WEIGHT_GRADIENT_NORM: 1e-4,
        Quantity.TRAINABLE: 1.0, Quantity.UPDATE_RATIO: 0.01,
    }  # fmt: skip
    past = history(linears(2), columns, optimizer=optimizer, learning_rate=0.001, losses=LossStretch.of([(0, 100.0)]))
    found = fitting_rate(past)
    assert found.by_loss > APART * found.by_size
    between = math.sqrt(found.by_size * found.by_loss)
    assert found.value == pytest.approx(found.by_size * HEALTHY_UPDATE[1] / BY_SIZE if capped else between)
    assert found.value <= between * (1 + 1e-9)
    assert not found.agreed


def test_a_step_that_is_a_part_of_the_weight_whatever_the_gradient_is_never_more_than_what_fits_by_size() -> None:
    columns = {
        Quantity.WEIGHT_NORM: 1.0, Quantity.WEIGHT_COUNT: 100.0, Quantity.WEIGHT_GRADIENT_NORM: 1e-4,
        Quantity.TRAINABLE: 1.0, Quantity.UPDATE_RATIO: 0.5,
    }  # fmt: skip
    found = fitting_rate(
        history(linears(2), columns, optimizer="LAMB", learning_rate=0.5, losses=LossStretch.of([(0, 1.0)]))
    )
    assert found.value == found.by_size == pytest.approx(BY_SIZE)


@pytest.mark.parametrize("faulty", [1e-7, 300.0])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "RMSprop", "NAdam", "Adagrad"])
def test_the_first_step_of_a_training_at_any_rate_gives_one_at_which_it_learns(optimizer: str, faulty: float) -> None:
    _, monitor = seen(optimizer, faulty, steps=3)
    found = fitting_rate(past(monitor))
    assert found.step == 0
    module, _ = seen(optimizer, found.value, steps=60)
    start, end = np.mean(module.losses[:4]), np.mean(module.losses[-8:])
    assert end < 0.9 * start
    assert max(module.losses[4:]) < 2 * start  # RMSprop's first steps are ten times those that follow


def test_a_step_in_which_nothing_was_measured_gives_none_and_the_next_one_does() -> None:
    columns = {
        Quantity.WEIGHT_NORM: 1.0, Quantity.WEIGHT_COUNT: 100.0, Quantity.WEIGHT_GRADIENT_NORM: 1.0,
        Quantity.TRAINABLE: 1.0, Quantity.UPDATE_RATIO: 0.1,
    }  # fmt: skip
    structure = linears(2)
    empty = columns | {Quantity.WEIGHT_GRADIENT_NORM: math.nan}
    later = fitting_rate(history(structure, empty, columns, optimizer="Adam", learning_rate=0.1))
    assert later.step == 1
    assert later.by_size == pytest.approx(BY_SIZE)  # a weight of 1 moved by 0.1 at a rate of 0.1
    assert math.isnan(later.by_loss)  # nothing is known of the loss
    assert later.value == pytest.approx(later.by_size)
    assert not later.agreed
    assert math.isnan(fitting_rate(history(structure, empty, optimizer="Adam", learning_rate=0.1)).value)


def test_optimizers_move_by_their_own_measure() -> None:
    columns = {
        Quantity.WEIGHT_NORM: 2.0, Quantity.WEIGHT_COUNT: 100.0, Quantity.WEIGHT_GRADIENT_NORM: 3.0,
        Quantity.TRAINABLE: 1.0, Quantity.UPDATE_RATIO: 0.05,
    }  # fmt: skip

    def moves(optimizer: str, **fields: float) -> float:
        return float(
            moves_of(record(linears(1), columns, step=4, optimizer=optimizer, **{"learning_rate": 0.1, **fields}))[0]
        )

    assert moves("AdamW", learning_rate=1e-3) == moves("RMSprop", learning_rate=1e-3) == 10.0
    # At 0.1 an element should move by 0.1, a weight by 1: an epsilon, or what is remembered, outweighs the gradient.
    assert moves("AdamW") == moves("Adagrad") == pytest.approx(1.0)
    assert moves("Lion") == moves("SignMomentum") == pytest.approx(10 / SIGNED_SHARE)
    assert moves("SGD", momentum=0.0) == 6.0
    assert moves("SGD", momentum=0.9) == pytest.approx(3 / 0.1 / 0.95)
    assert moves("Adafactor") == moves("Shampoo") == pytest.approx(0.05 * 2 / 0.1)
    assert math.isnan(moves("SGD, Adam"))


def test_a_clip_that_leaves_a_tenth_of_the_gradient_asks_for_a_rate_ten_times_as_large() -> None:
    def value(clip: float | None) -> tuple[float, float]:
        torch.manual_seed(0)
        module, monitor = Classifier(mlp(3, 32), lr=0.1, optimizer="SGD"), InitMonitor(sinks=(), strict=True)
        fit(module, loader(32, samples=128, batch=32), monitor, steps=1, gradient_clip_val=clip)
        norm = float(np.sqrt(np.nansum(monitor.records[0].column(Quantity.WEIGHT_GRADIENT_NORM) ** 2)))
        return fitting_rate(past(monitor)).value, norm

    free, norm = value(None)
    assert value(norm / 10)[0] == pytest.approx(10 * free, rel=1e-2)


def test_an_activation_is_no_reason_for_another_rate_of_adam() -> None:
    values = []
    for activation in (nn.ReLU, nn.Tanh):
        torch.manual_seed(0)
        monitor = InitMonitor(sinks=(), strict=True)
        fit(
            Classifier(mlp(3, 32, activation=activation), lr=1e-3, optimizer="Adam"),
            loader(32, samples=64),
            monitor,
            steps=1,
        )
        values.append(fitting_rate(past(monitor)).by_size)
    assert values[0] == pytest.approx(values[1], rel=0.1)  # a ReLU passes some units no gradient
