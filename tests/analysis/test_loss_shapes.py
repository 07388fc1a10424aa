"""The shape of a loss: jumps both ways, falls faster and faster, what was gained and lost again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from init_monitor.analysis.loss_shapes import Jumps, falls_faster, jumps, newest_level, regained
from init_monitor.records import LossCurve, LossStretch

if TYPE_CHECKING:
    from collections.abc import Iterable

RANDOM = np.random.default_rng(0)
NOISE = RANDOM.normal(size=400)


def curve(values: Iterable[float]) -> LossCurve:
    known = LossCurve()
    known.add(LossStretch.of(enumerate(map(float, values))))
    return known


# --- jumps -------------------------------------------------------------------------------------------------------


def test_a_ratio_of_two_normal_numbers_jumps_and_normal_noise_does_not() -> None:
    """300 runs each: such a ratio has a Cauchy distribution, of which 6.3 % lie ten median deviations off."""
    ratios = RANDOM.normal(size=(300, 110)) / RANDOM.normal(size=(300, 110))
    found = [jumps(curve(row)) for row in ratios]
    assert np.mean([one is not None for one in found]) > 0.6
    assert not any(jumps(curve(row)) for row in RANDOM.normal(size=(300, 110)))
    assert not any(jumps(curve(row)) for row in RANDOM.laplace(size=(300, 110)))


def test_what_is_counted_is_what_is_told() -> None:
    values = 0.1 * NOISE[:120]
    values[[40, 50, 60]] = 30.0
    values[[45, 55]] = -20.0
    found = jumps(curve(values))
    assert isinstance(found, Jumps)
    assert found[:3] == (3, 2, 100)
    assert (found.high, found.low) == (30.0, -20.0)
    assert abs(found.usual) < 0.1


@pytest.mark.parametrize(
    "places", [{40: 30.0, 50: 25.0, 60: 30.0}, {45: -30.0, 55: -20.0}, {40: 30.0, 50: 30.0, 45: -30.0}]
)
def test_spikes_to_one_side_and_single_ones_are_no_jumps(places: dict[int, float]) -> None:
    values = 1 + 0.1 * NOISE[:120]
    for at, value in places.items():
        values[at] = value
    assert jumps(curve(values)) is None


def test_a_loss_above_zero_a_short_one_and_one_that_stands_jump_never() -> None:
    far = np.where(np.arange(120) % 20 == 0, 90.0, 50 + NOISE[:120])
    far[::24] = 3.0
    assert jumps(curve(far)) is None, "never below 0: an error may do so"
    assert jumps(curve(RANDOM.normal(size=90) / RANDOM.normal(size=90))) is None
    assert jumps(curve([0.0] * 150)) is None


def test_what_has_come_close_to_zero_does_not_jump_by_what_was_usual_before() -> None:
    values = np.concatenate([-0.3 + 0.05 * NOISE[:50], 1e-6 * NOISE[:120]])
    values[[80, 90, 100]] = [0.4, -0.5, 0.3]
    values[120] = -0.4
    assert jumps(curve(values)) is None


# --- faster and faster -------------------------------------------------------------------------------------------


def test_an_exponential_downwards_is_faster_and_a_line_and_a_decay_are_not() -> None:
    t = np.arange(300)
    assert falls_faster(curve(-np.exp(t / 60) + 0.02 * NOISE[:300]))
    assert not falls_faster(curve(-0.1 * t + 0.02 * NOISE[:300]))
    assert not falls_faster(curve(3 * np.exp(-t / 60) - 9))
    assert not falls_faster(curve(NOISE[:300]))


def test_too_few_losses_and_a_fall_within_the_noise_say_nothing() -> None:
    t = np.arange(300)
    assert not falls_faster(curve(-np.exp(t[:80] / 15)))
    assert not falls_faster(curve(-0.01 * np.exp(t / 60) + NOISE[:300]))
    assert not falls_faster(curve([]))


def test_the_newest_level_is_that_of_the_last_ten() -> None:
    assert newest_level(curve(range(100))) == 94.5
    assert np.isnan(newest_level(curve([])))


# --- lost again --------------------------------------------------------------------------------------------------


def test_a_loss_that_is_back_is_known_with_its_lowest_level_and_the_step() -> None:
    values = [*np.linspace(0, -2, 100), *(0.01 * NOISE[:60])]
    found = regained(curve(values), 20)
    assert found is not None
    assert found.leap == 100
    assert -2 <= found.low <= -1.7
    values[-5] = -1.5
    assert regained(curve(values), 20) is not None, "one batch is unlike the others"
    values[-7] = -1.5
    assert regained(curve(values), 20) is None


def test_a_loss_that_never_fell_or_is_on_its_way_back_down_is_not() -> None:
    assert regained(curve(1 + 0.1 * NOISE[:200]), 20) is None
    assert regained(curve([*np.linspace(3, 1, 100), *([3.0] * 15)]), 20) is None
    assert regained(curve([3.0] * 50), 20) is None
