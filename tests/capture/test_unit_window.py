"""The constant-memory window of units says what a window that keeps everything says."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from init_monitor.capture.unit_window import ENOUGH_POSITIONS, LEAST_STEPS, UnitWindow
from init_monitor.records import Units

Step = tuple[list[tuple[bool, bool]], int]
"""Per unit, whether it saw a positive and a non-positive value; and at how many positions."""


@st.composite
def runs(draw: st.DrawFn) -> list[Step]:
    """Up to 40 sampled steps of a layer whose number of units may change on the way."""
    steps: list[Step] = []
    for _ in range(draw(st.integers(1, 3))):
        units = draw(st.integers(1, 4))
        signs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=units, max_size=units)
        positions = st.sampled_from([1, 100, 512, ENOUGH_POSITIONS // LEAST_STEPS, ENOUGH_POSITIONS])
        steps += draw(st.lists(st.tuples(signs, positions), min_size=1, max_size=14))
    return steps


def add(window: UnitWindow, step: Step) -> None:
    signs = np.array(step[0], np.bool_).reshape(len(step[0]), 2)
    window.add(signs[:, 0].copy(), signs[:, 1].copy(), step[1])


def naive(steps: list[Step], longest: int) -> Units:
    """Look at every step of the window, newest first, until there are enough of the present units."""
    units = len(steps[-1][0])
    seen: list[Step] = []
    for step in reversed(steps[-longest:]):
        enough = len(seen) >= LEAST_STEPS and sum(positions for _, positions in seen) >= ENOUGH_POSITIONS
        if enough or len(step[0]) != units:
            break
        seen.append(step)
    dead = sum(not any(signs[unit][0] for signs, _ in seen) for unit in range(units))
    positive = sum(not any(signs[unit][1] for signs, _ in seen) for unit in range(units))
    return Units(units, sum(positions for _, positions in seen), dead / units, positive / units)


@given(runs(), st.sampled_from([1, 3, 8, 20, 256]))
def test_every_reading_equals_that_of_a_window_that_keeps_all_samples(steps: list[Step], longest: int) -> None:
    window = UnitWindow(longest)
    for i, step in enumerate(steps):
        add(window, step)
        assert window.read() == naive(steps[: i + 1], longest)


@given(runs(), st.integers(0, 40), st.sampled_from([3, 256]))
def test_a_window_saved_as_json_goes_on_as_if_nothing_had_happened(steps: list[Step], cut: int, longest: int) -> None:
    whole, first, second = UnitWindow(longest), UnitWindow(longest), UnitWindow(longest)
    for step in steps[:cut]:
        add(whole, step)
        add(first, step)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    if steps[:cut]:
        assert second.read() == whole.read()
    for step in steps[cut:]:
        add(whole, step)
        add(second, step)
        assert second.read() == whole.read()


def test_nothing_seen_says_nothing() -> None:
    nothing = UnitWindow(8).read()
    assert (nothing.count, nothing.samples) == (0, 0)
    assert math.isnan(nothing.dead_fraction)
    assert math.isnan(nothing.all_positive_fraction)


@pytest.mark.parametrize(
    ("positions", "steps_back", "reason"),
    [
        (ENOUGH_POSITIONS, LEAST_STEPS, "one step has enough positions, but eight are looked back on"),
        (ENOUGH_POSITIONS // LEAST_STEPS, LEAST_STEPS, "eight steps have exactly enough"),
        (ENOUGH_POSITIONS // LEAST_STEPS - 1, LEAST_STEPS + 1, "eight steps have one position too few"),
        (ENOUGH_POSITIONS // 32, 32, "small batches are looked back on until there is enough"),
    ],
)
def test_the_window_is_as_short_as_enough_steps_and_positions_allow(
    positions: int, steps_back: int, reason: str
) -> None:
    window = UnitWindow(longest=256)
    active = np.array([True])
    window.add(active, active, positions)
    for quiet in range(1, 40):
        window.add(~active, active, positions)
        # The unit was active in the first step alone: it is dead as soon as that step has left the window.
        assert window.read().dead_fraction == float(quiet >= steps_back), reason
    assert window.read().samples == steps_back * positions


def test_a_unit_that_fires_once_in_eight_steps_is_not_dead() -> None:
    window = UnitWindow(longest=256)
    for step in range(LEAST_STEPS * 3):
        fires = np.array([step % LEAST_STEPS == 0])
        window.add(fires, np.array([True]), ENOUGH_POSITIONS)
        if step >= LEAST_STEPS:
            assert window.read() == Units(1, LEAST_STEPS * ENOUGH_POSITIONS, 0.0, 0.0)


def test_another_number_of_units_starts_the_window_afresh() -> None:
    window = UnitWindow(longest=256)
    for _ in range(20):
        window.add(np.array([True, True]), np.array([True, True]), 10)
    window.add(np.array([False, True, True]), np.array([True, True, False]), 7)
    assert window.read() == Units(3, 7, 1 / 3, 1 / 3)


def test_memory_does_not_grow_with_the_run() -> None:
    window = UnitWindow(longest=16)
    for _ in range(1000):
        window.add(np.array([True]), np.array([True]), 1)
    state = window.state_dict()
    assert {key: len(values) for key, values in state.items()} == {"positive": 1, "nonpositive": 1, "positions": 16}


def rates_window(rates: list[float], steps: int, batch: int, seed: int = 0) -> Units:
    """What a window says of units that fire independently at these rates."""
    generator = np.random.default_rng(seed)
    window = UnitWindow(longest=256)
    for _ in range(steps):
        window.add(
            generator.random(len(rates)) < 1 - (1 - np.asarray(rates)) ** batch, np.ones(len(rates), bool), batch
        )
    return window.read()


@pytest.mark.parametrize(("units", "batch", "steps"), [(128, 64, 10), (256, 16, 12), (64, 64, 10), (512, 32, 6)])
def test_dead_units_of_a_layer_are_certain_from_a_few_hundred_samples(units: int, batch: int, steps: int) -> None:
    dead = units // 2
    seen = rates_window([0.0] * dead + [0.3] * (units - dead), steps, batch)
    assert seen.samples < 1000
    assert seen.dead_fraction == pytest.approx(0.5)
    assert 0.35 <= seen.dead_at_least <= 0.5


@pytest.mark.parametrize("rate", [0.04, 0.02, 0.01, 0.005])
@pytest.mark.parametrize(("batch", "steps"), [(16, 4), (16, 10), (64, 3), (64, 10)])
def test_units_that_are_only_rare_are_not_certain_to_be_dead(rate: float, batch: int, steps: int) -> None:
    lows = [rates_window([rate] * 256, steps, batch, seed).dead_at_least for seed in range(20)]
    assert max(lows) < 0.1, max(lows)


def test_the_certain_share_never_exceeds_what_was_silent_and_one_step_makes_nothing_certain() -> None:
    assert math.isnan(rates_window([0.0, 0.5], 1, 64).dead_at_least)
    for seed in range(10):
        seen = rates_window([0.0] * 20 + [0.01] * 40, 8, 32, seed)
        assert 0 <= seen.dead_at_least <= seen.dead_fraction
