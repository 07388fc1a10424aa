"""Where the kernel sums the units of a row: laid out once, and each step's readings stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from init_monitor.capture.straight import Straight
from init_monitor.capture.unit_rooms import MOST_FORMS
from init_monitor.measures import Layout, Reduction, native

PLAN = Reduction(layout=Layout(0, 1), rectifier=True)


@pytest.fixture
def accumulator() -> Straight:
    assert native.library() is not None
    return Straight(torch.device("cpu"), exact=True)


def test_units_of_several_batches_are_summed_and_the_next_step_begins_anew(accumulator: Straight) -> None:
    row = accumulator.new_row()
    for step in range(3):
        batches = [torch.randn(5, 7, generator=torch.Generator().manual_seed(10 * step + k)) for k in range(2)]
        for x in batches:
            accumulator.take(row, x, PLAN)
            accumulator.end_batch()
        read = accumulator.drain()
        (units,) = read.units[row]
        together = torch.cat(batches)
        np.testing.assert_allclose(units.sums, together.double().sum(0).numpy(), rtol=1e-12)
        assert units.positive is not None
        assert units.nonpositive is not None
        assert units.positive.tolist() == (together > 0).any(0).tolist()
        assert units.nonpositive.tolist() == (together <= 0).any(0).tolist()
        assert (read.samples[row], read.positions[row]) == (10, 10)


def test_what_was_read_of_a_step_keeps_its_numbers_when_the_next_is_measured(accumulator: Straight) -> None:
    row = accumulator.new_row()
    accumulator.take(row, torch.full((4, 3), 2.0), PLAN)
    (before,) = accumulator.drain().units[row]
    accumulator.take(row, torch.full((4, 3), -5.0), PLAN)
    (after,) = accumulator.drain().units[row]
    assert (before.sums.tolist(), after.sums.tolist()) == ([8.0] * 3, [-20.0] * 3)
    assert before.positive is not None
    assert after.positive is not None
    assert before.positive.all()
    assert not after.positive.any()


def test_rows_that_come_later_move_the_memory_and_lose_nothing(accumulator: Straight) -> None:
    rows = [accumulator.new_row() for _ in range(40)]
    for row in rows:
        accumulator.take(row, torch.full((2, 100), float(row)), PLAN)
    for row in rows:
        accumulator.take(row, torch.full((2, 100), float(row)), PLAN)
    read = accumulator.drain()
    assert all((read.units[row][0].sums == 4.0 * row).all() for row in rows)


def test_units_whose_number_changes_from_batch_to_batch_are_kept_apart_and_do_not_pile_up(
    accumulator: Straight,
) -> None:
    row = accumulator.new_row()
    for step in range(3):
        widths = range(3 + step, 3 + step + MOST_FORMS + 2)
        for width in widths:
            accumulator.take(row, torch.ones(2, width), PLAN)
        read = accumulator.drain()
        assert [units.sums.tolist() for units in read.units[row]] == [[2.0] * width for width in widths]


def test_a_step_that_is_abandoned_leaves_nothing_to_the_next(accumulator: Straight) -> None:
    row = accumulator.new_row()
    accumulator.take(row, torch.ones(2, 3), PLAN)
    accumulator.discard()
    accumulator.take(row, torch.ones(2, 3), PLAN)
    (units,) = accumulator.drain().units[row]
    assert units.sums.tolist() == [2.0] * 3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_unit_that_is_nan_saw_both_signs(accumulator: Straight, dtype: torch.dtype) -> None:
    row = accumulator.new_row()
    accumulator.take(row, torch.tensor([[1.0, torch.nan, -1.0]], dtype=dtype), PLAN)
    (units,) = accumulator.drain().units[row]
    assert units.positive is not None
    assert units.nonpositive is not None
    assert (units.positive.tolist(), units.nonpositive.tolist()) == ([True, True, False], [False, True, True])
