"""Of a long run as many columns are sent as a screen shows, and none that matters is lost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from builders import linears
from hypothesis import given, strategies as st
from test_plugin import Asked, python_loader, write

from init_monitor.page.payload import decoded, encoded
from init_monitor.page.series import FIRST_KEPT, Series, assembled, merged_names, thinned
from init_monitor.records.quantities import (
    Quantity,
)
from init_monitor.tensorboard_plugin.plugin import MOST_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

# --- matrices -------------------------------------------------------------------------------------------------------


def series_of(count: int, rows: int = 2) -> Series:
    values = np.arange(rows * count, dtype=np.float32).reshape(rows, count)
    return Series(tuple(f"l{i}" for i in range(rows)), np.arange(count, dtype=np.int64) * 10, values, count)


@given(count=st.integers(1, 400), columns=st.integers(1, 120), keep=st.sets(st.integers(0, 4000), max_size=20))
def test_thinning_keeps_real_columns_the_last_and_no_more_than_fit(count: int, columns: int, keep: set[int]) -> None:
    whole = series_of(count)
    thin = thinned(whole, columns, keep)
    assert len(thin.steps) == min(count, columns)
    assert thin.steps[-1] == whole.steps[-1]
    assert (np.diff(thin.steps) > 0).all()
    np.testing.assert_array_equal(thin.values, whole.values[:, np.searchsorted(whole.steps, thin.steps)])
    assert thin.sampled == count


def test_thinning_keeps_the_beginning_and_the_steps_of_findings() -> None:
    thin = thinned(series_of(5000), 200, {12340, 45670})
    assert {12340, 45670} <= set(thin.steps.tolist())
    assert thin.steps[:FIRST_KEPT].tolist() == [10 * i for i in range(FIRST_KEPT)]
    # What is left is spread evenly: no hole is wider than a few times the mean.
    assert np.diff(thin.steps).max() <= 3 * 50_000 / 200


def test_thinning_a_count_loses_none() -> None:
    values = np.zeros((1, 1000), dtype=np.float32)
    values[0, 777] = 5.0
    whole = Series(("a",), np.arange(1000, dtype=np.int64), values, 1000)
    thin = thinned(whole, 50, worst=True)
    assert 777 not in thin.steps.tolist()
    assert thin.values.max() == 5.0
    assert thin.steps[int(thin.values.argmax())] > 777


def test_no_more_columns_are_sent_than_a_screen_shows(tmp_path: Path) -> None:
    write(tmp_path / "run", range(MOST_COLUMNS + 100), linears(1), {Quantity.VARIANCE: 1.0})
    reader = Asked(python_loader(tmp_path))
    assert len(reader.series("run", Quantity.VARIANCE)[0]["steps"]) == MOST_COLUMNS
    assert len(reader.series("run", Quantity.VARIANCE, columns=10**9)[0]["steps"]) == MOST_COLUMNS
    header, _ = reader.series("run", Quantity.VARIANCE, columns=7)
    assert len(header["steps"]) == 7
    assert header["sampled"] == MOST_COLUMNS + 100


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8), max_size=5))
def test_merged_names_hold_every_name_once(lists: list[list[str]]) -> None:
    merged = merged_names(lists)
    assert sorted(merged) == sorted({name for one in lists for name in one})


@given(st.lists(st.sampled_from("abcdefgh"), unique=True), st.data())
def test_merged_names_of_parts_of_one_order_respect_each_part(order: list[str], data: st.DataObject) -> None:
    parts = [[name for name in order if data.draw(st.booleans())] for _ in range(3)]
    merged = merged_names(parts)
    first = [name for name in merged if name in parts[0]]
    assert first == parts[0]


def test_a_payload_comes_back_as_it_was() -> None:
    made = assembled(
        [(3, ("é", "b"), np.array([math.nan, 1e-40], np.float32)), (1, ("b",), np.array([-1.0], np.float32))]
    )
    payload = encoded(made, run="r")
    header, values = decoded(payload)
    assert header == {"v": 1, "names": ["é", "b"], "steps": [1, 3], "sampled": 2, "run": "r"}
    np.testing.assert_array_equal(values, made.values)
    assert (len(payload) - values.nbytes) % 4 == 0
