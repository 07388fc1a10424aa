"""Whether a run is seen to learn, through the noise of its loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
from builders import linears

from init_monitor.analysis.learning import Learning, course_of, guessing_loss, seen
from init_monitor.records import LossCurve, LossStretch, Structure

NET = Structure((*linears(3, width=64).layers[:2], linears(3, width=10).layers[2]))
CHANCE = np.random.default_rng(0).normal(size=400)


def curve(values: object) -> LossCurve:
    made = LossCurve()
    made.add(LossStretch.of(enumerate(np.asarray(values, np.float64).tolist())))
    return made


def judged(values: object, **options: bool) -> Learning:
    return seen(course_of(curve(values)), NET, **options)


STEPS = np.arange(400)
FALLING = 2.3 * np.exp(-STEPS / 60) + 0.1


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("n", [60, 200, 400])
def test_a_loss_that_falls_is_learning_however_noisy(noise: float, n: int) -> None:
    assert judged((FALLING + noise * CHANCE)[:n]) is Learning.LEARNS


@pytest.mark.parametrize("noise", [1e-4, 0.02, 0.1])
@pytest.mark.parametrize("n", [60, 200, 400])
def test_a_level_loss_is_level_and_never_learning(noise: float, n: int) -> None:
    assert judged((1.7 + noise * CHANCE)[:n]) is Learning.LEVEL


def test_chance_alone_is_taken_for_learning_less_than_once_in_a_thousand() -> None:
    rng = np.random.default_rng(1)
    wrong = sum(judged(1 + 0.2 * rng.normal(size=int(rng.integers(10, 300)))) is Learning.LEARNS for _ in range(2000))
    assert wrong <= 2


def test_finding_the_level_of_guessing_is_not_learning() -> None:
    first = 0.12 * np.exp(-STEPS / 4)
    assert judged(math.log(10) + first + 0.01 * CHANCE) is Learning.LEVEL
    assert judged(math.log(10) + 200 * first + 0.005 * CHANCE) is Learning.LEVEL, "from 24 to guessing"
    assert judged(1.5 + 200 * first + 0.005 * CHANCE) is Learning.LEARNS


def test_a_slow_fall_that_goes_on_is_learning() -> None:
    assert judged(2.30 - 0.0008 * STEPS + 0.01 * CHANCE) is Learning.LEARNS


def test_few_losses_many_noisy_ones_and_players_against_each_other_say_nothing() -> None:
    assert judged([]) is Learning.UNKNOWN
    assert judged([2.3] * 9) is Learning.UNKNOWN
    assert judged([2.3] * 49) is Learning.UNKNOWN
    assert judged((1 + 3 * CHANCE)[:80]) is Learning.UNKNOWN
    assert judged(1.7 + 0.02 * CHANCE, several=True) is Learning.UNKNOWN


@pytest.mark.parametrize("last", [math.nan, math.inf])
def test_a_run_whose_loss_is_not_finite_is_broken_whatever_it_was(last: float) -> None:
    assert judged([*FALLING[:50], last]) is Learning.BROKEN
    assert judged([last]) is Learning.BROKEN
    assert judged([*FALLING[:50], last, *FALLING[50:100]]) is Learning.LEARNS


def test_losses_below_zero_are_judged_by_their_size() -> None:
    assert judged(-1 - FALLING[::-1] + 0.05 * CHANCE) is Learning.LEARNS
    assert judged(-1 + FALLING[::-1] + 0.05 * CHANCE) is Learning.LEVEL, "it rises"


def test_the_loss_of_guessing_is_that_of_the_outputs() -> None:
    assert guessing_loss(NET) == pytest.approx(2.302585)
    assert guessing_loss(linears(2, width=1)) == pytest.approx(0.693147)
    assert math.isnan(guessing_loss(Structure()))
