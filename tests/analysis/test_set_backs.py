"""A loss that is set back to its start at regular intervals, beside losses that only look like it."""

from __future__ import annotations

import numpy as np
import pytest

from init_monitor.analysis.set_backs import set_back
from init_monitor.records import LossCurve, LossStretch

RANDOM = np.random.default_rng(0)


def curve(values: np.ndarray) -> LossCurve:
    known = LossCurve()
    known.add(LossStretch.of(enumerate(map(float, values))))
    return known


@pytest.mark.parametrize("every", [8, 15, 40, 77])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.05])
def test_each_fall_that_is_taken_back_at_once_counts(every: int, noise: float) -> None:
    steps = np.arange(every * 7 + 3)
    found = set_back(curve(2.3 - 0.6 * (steps % every) / every + noise * RANDOM.normal(size=len(steps))), 5)
    assert found is not None
    assert found.every == every
    assert found.times in {5, 6}
    assert found.top == pytest.approx(2.3, abs=0.2)
    assert found.bottom < found.top - 0.3


def test_four_are_not_enough() -> None:
    steps = np.arange(20 * 5)
    assert set_back(curve(2.3 - 0.6 * (steps % 20) / 20), 5) is None


def test_noise_a_fall_and_a_level_are_none() -> None:
    """300 runs of each kind."""
    steps = np.arange(200)
    for noise in RANDOM.normal(size=(300, 200)):
        assert set_back(curve(2 + 0.1 * noise), 5) is None
        assert set_back(curve(2 * np.exp(-steps / 50) + 0.1 * noise), 5) is None
        assert set_back(curve(2 + 0.02 * np.cumsum(noise)), 5) is None


def test_epochs_in_the_same_order_are_none_where_something_is_learned() -> None:
    """Batches that are always in the same order, the hardest first: a sawtooth, but one that comes down."""
    steps = np.arange(300)
    hard = 0.5 * (1 - (steps % 20) / 20)
    for left in (np.exp(-steps / 60), np.maximum(1 - steps / 100, 0.2), np.where(steps < 20, 1 - steps / 40, 0.5)):
        assert set_back(curve(left + hard + 0.02 * RANDOM.normal(size=300)), 5) is None


def test_a_leap_above_the_start_is_none() -> None:
    """Classes one after the other: each new one costs more than guessing."""
    steps = np.arange(300)
    assert set_back(curve(np.where(steps < 30, 2.3, 5.0) * np.exp(-(steps % 30) / 5)), 5) is None


def test_a_loss_that_is_not_finite_is_none() -> None:
    values = 2.3 - 0.6 * (np.arange(200) % 20) / 20
    values[50] = np.nan
    assert set_back(curve(values), 5) is None
