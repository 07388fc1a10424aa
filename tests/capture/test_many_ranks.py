"""Two, four and eight real processes: the same numbers, from arrays of the same size, and one of them judges."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from forked_programs import Forks

SCRIPT = Path(__file__).parents[1] / "forked_ranks.py"


@pytest.fixture(scope="module")
def written(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what every process wrote, by ``scenario.size.rank``."""
    out = tmp_path_factory.mktemp("ranks")
    known = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1]), "OMP_NUM_THREADS": "1"}
    done = forks.run(str(SCRIPT), str(out), cwd=out, env=known)
    assert done.returncode == 0, done.stderr[-4000:]
    return {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}


def of(written: dict[str, Any], scenario: str, size: int) -> list[dict[str, Any]]:
    return [written[f"{scenario}.{size}.{rank}"] for rank in range(size)]


@pytest.mark.parametrize("size", [2, 8])
def test_together_they_measure_what_one_process_does(written: dict[str, Any], size: int) -> None:
    expected, found = written["plain.1.0"], written[f"plain.{size}.0"]
    assert (found["names"], found["steps"], found["notices"]) == (expected["names"], [0, 1, 2, 3], [])
    np.testing.assert_allclose(found["losses"], expected["losses"], rtol=1e-5)
    for quantity, values in expected["columns"].items():
        # What is compared was trained on means of other means: float32.
        np.testing.assert_allclose(
            found["columns"][quantity], values, rtol=2e-3, atol=1e-7, equal_nan=True, err_msg=quantity
        )


@pytest.mark.parametrize(("scenario", "size"), [("plain", 2), ("plain", 8), ("experts", 4), ("exploding", 2)])
def test_the_record_is_the_same_everywhere_to_the_bit(written: dict[str, Any], scenario: str, size: int) -> None:
    first, *others = of(written, scenario, size)
    for other in others:
        for what in ("steps", "names", "losses", "findings", "open", "notices"):
            np.testing.assert_equal(other[what], first[what], err_msg=what)
        for quantity, values in first["columns"].items():
            np.testing.assert_array_equal(other["columns"][quantity], values, err_msg=quantity)


def test_a_layer_that_some_call_is_part_of_the_step_for_all(written: dict[str, Any]) -> None:
    for size in (2, 4, 8):
        for one in of(written, "experts", size):
            names = one["names"][0]
            assert {"experts.0", "experts.1"} <= set(names)
            count = dict(zip(names, one["columns"]["count"], strict=True))
            assert count["experts.0"] == count["experts.1"] == 24 * 24, "half of the samples each"
            assert count["head"] == 48 * 4


def test_what_a_process_gives_does_not_depend_on_how_many_there_are(written: dict[str, Any]) -> None:
    plain = {tuple(one["given"]) for size in (2, 8) for one in of(written, "plain", size)[1:]}
    (given,) = plain
    assert len(set(given)) == 1, "and is the same at every step"
    # The one that judges says how much it has to say, which is nothing.
    assert {one["given"][-1] for size in (2, 8) for one in of(written, "plain", size)[:1]} == {given[-1] + 8}
    mixed = {tuple(one["given"]) for size in (2, 4, 8) for one in of(written, "experts", size)[1:]}
    ((first, met, *later),) = mixed
    assert first == given[0]
    assert met > later[0] > first, "a list travels when an expert is seen for the first time, and only then"
    assert len(set(later)) == 1


def test_one_judges_and_all_know(written: dict[str, Any]) -> None:
    alone, (first, second) = written["exploding.1.0"], of(written, "exploding", 2)
    assert [one[:3] for one in first["findings"]] == [one[:3] for one in alone["findings"]]
    assert len(first["findings"]) > 3
    assert second["findings"] == first["findings"]
    assert second["open"] == first["open"]
    assert sum(first["given"]) > sum(second["given"]), "it tells the other"


def test_another_judges_where_the_first_cannot(written: dict[str, Any]) -> None:
    first, second = of(written, "first", 2)
    assert first["steps"] == [0]
    assert second["steps"] == [0, 1, 2, 3]
    assert "switched off" in first["notices"][0]
    assert second["notices"] == []
    assert [one[:3] for one in second["findings"]] == [one[:3] for one in written["exploding.1.0"]["findings"]]
    assert first["findings"] == second["findings"], "it hears of them all the same"


def test_one_that_fails_stops_nobody(written: dict[str, Any]) -> None:
    first, last = of(written, "last", 2)
    assert first["steps"] == [0, 1, 2, 3]
    assert first["notices"] == []
    assert last["steps"] == [0]
    count = dict(zip(first["names"][0], first["columns"]["count"], strict=True))
    assert count["head"] == 24 * 4, "what is left is the share of the first"
