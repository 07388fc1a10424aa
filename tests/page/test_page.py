"""The page as one file: its modules in one script, its numbers beside them, and the commands that write it."""

from __future__ import annotations

import base64
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from browser import browser, chromium, missing
from builders import linears, record
from hypothesis import given, settings, strategies as st

from init_monitor import Report
from init_monitor.page import bundle
from init_monitor.page.document import BUDGET, LEAST_COLUMNS, ShownRun, document, embedded
from init_monitor.page.loss_line import MOST_POINTS, loss_line, loss_words
from init_monitor.page.payload import decoded
from init_monitor.records import Finding, LossCurve, LossStretch, Severity
from init_monitor.records.quantities import LAYER_VECTORS, PARAMETER_VECTORS, Quantity
from init_monitor.store import RunWriter, read_run, run_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = Path(__file__).parents[2]
NET = linears(3)
FOUND = Finding(
    *("exploding-activations", "IM101", Severity.CRITICAL, ("net.1",), 2, "It grows </script> fast."),
    remedy="Use He.",
    source="‖Δw‖",
)


def stored(directory: Path, factor: float = 1.0, settings: dict[str, Any] | None = None, layers: int = 3) -> Path:
    """A run on disk: five steps; the variance is the step plus one, times the factor."""
    net = linears(layers)
    path = run_file(directory)
    path.parent.mkdir(parents=True)
    writer = RunWriter(path, settings=settings or {"every_n_steps": 50}, versions={"torch": "2.13"})
    for step in range(5):
        columns: dict[Quantity, Any] = {Quantity.VARIANCE: factor * (step + 1), Quantity.GRADIENT_VARIANCE: math.nan}
        writer.write(record(net, columns, step=step), (FOUND,) if step == 2 and factor > 1 else (), net)
    writer.close()
    return directory


def open_browser() -> None:
    with browser():
        pass


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
@pytest.mark.parametrize(
    ("what", "look"),
    [
        ("chromium", chromium),
        ("playwright", open_browser),
        ("tsc", lambda: test_the_modules_pass_the_type_checker()),  # noqa: PLW0108 - it is defined below
    ],
)
def test_what_cannot_be_looked_at_here_is_skipped_with_a_reason_and_fails_in_ci(
    what: str, look: Callable[[], object], ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    if what == "playwright":
        monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    with pytest.raises(outcome, match=f"no {what}: .* not (looked at|checked)"):
        look()


# --- one script -----------------------------------------------------------------------------------------------------


def test_every_module_is_in_the_script_or_belongs_to_tensorboard_alone() -> None:
    text = bundle.script()
    modules = {path.name for path in bundle.STATIC.glob("*.js")}
    inside = set(re.findall(r'^modules\["([\w-]+\.js)"\] =', text, flags=re.MULTILINE))
    assert modules - inside == {"index.js", "types.js"}
    assert inside - modules <= {path.name for path in bundle.EXPLORER.glob("*.js")}
    assert not re.search(r"^(import|export)\b", text, flags=re.MULTILINE)
    assert "</script" not in text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('import * as all from "./other.js";\n', r"page.js has 'import \* as all from"),
        ("export default 3;\n", "page.js has 'export default 3;'"),
        ("const here = import.meta.url;\n", "page.js has 'import.meta'"),
        ('import { a } from "./page.js";\n', "page.js imports itself by way of page.js"),
    ],
)
def test_another_form_of_module_is_refused(
    source: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.js").write_text(source)
    monkeypatch.setattr(bundle, "STATIC", tmp_path)
    with pytest.raises(ValueError, match=words):
        bundle.script("page.js")


def test_the_modules_pass_the_type_checker() -> None:
    tsc = shutil.which("tsc") or shutil.which("tsc", path=str(Path(sys.prefix) / "node" / "node_modules" / ".bin"))
    if tsc is None:
        missing("tsc", "the types of the page's modules were not checked")
    done = subprocess.run([tsc, "-p", str(ROOT / "tsconfig.json")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_module_keeps_to_one_idea() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in bundle.STATIC.glob("*.js")}
    assert {name: count for name, count in lengths.items() if count > 340} == {}


# --- its numbers ----------------------------------------------------------------------------------------------------


def test_what_is_embedded_is_what_was_measured() -> None:
    values = np.array([1e-30, math.nan, math.inf])
    records = [record(NET, {Quantity.VARIANCE: values * (step + 1)}, step=step) for step in range(3)]
    made = embedded([ShownRun("a", records, [FOUND], NET)])
    (entry,) = made["runs"]
    assert (entry["name"], entry["step"], entry["quantities"]) == ("a", 2, ["variance"])
    header, matrix = decoded(base64.b64decode(made["series"]["a"]["variance"]))
    assert header["steps"] == [0, 1, 2]
    expected = np.stack([values * (step + 1) for step in range(3)], axis=1).astype(np.float32)
    np.testing.assert_array_equal(matrix, expected)
    assert made["outlines"]["a"]["findings"][0]["message"] == FOUND.message
    json.dumps(made, allow_nan=False)


def test_a_file_stays_small_enough_to_send() -> None:
    net = linears(500)
    columns = dict.fromkeys((*LAYER_VECTORS, *PARAMETER_VECTORS), 1.0)
    records = [record(net, columns, step=step) for step in range(500)]
    made = embedded([ShownRun("a", records, [], net)])
    size = sum(len(one) for one in made["series"]["a"].values())
    assert size < 1.5 * BUDGET
    steps = decoded(base64.b64decode(made["series"]["a"]["variance"]))[0]["steps"]
    assert LEAST_COLUMNS <= len(steps) < 500
    assert (steps[0], steps[-1]) == (0, 499)


def test_a_page_without_records_has_no_pictures() -> None:
    page = document("t", [ShownRun("a", [])], before="x", after="y", css="")
    assert "<script" not in page
    assert Report().to_html().count("<script") == 0


def test_names_cannot_end_the_script(tmp_path: Path) -> None:
    page = Report.of(read_run(stored(tmp_path, 2.0)).records, [FOUND], NET, {}).to_html()
    assert page.count("</script>") == 2
    assert page.count("<script") == 2


# --- the loss -------------------------------------------------------------------------------------------------------


def curve(values: Iterable[float], most: int = 16_384) -> LossCurve:
    made = LossCurve(most)
    made.add(LossStretch.of(enumerate(values)))
    return made


def test_a_short_curve_is_drawn_as_it_is() -> None:
    assert loss_line(curve([2.0, math.inf, 0.5])) == {
        "steps": [0, 1, 2],
        "values": [2.0, "Infinity", 0.5],
        "nonfinite_from": None,
    }
    assert loss_line(LossCurve()) is None


@given(st.lists(st.sampled_from([0.25, 1.0, 2.0, 1e30, math.nan, -math.inf]), min_size=1, max_size=80), st.data())
@settings(max_examples=40, deadline=None)
def test_of_a_long_curve_no_extreme_is_lost_and_no_point_is_made_up(rare: list[float], data: st.DataObject) -> None:
    values = (3.0 + np.sin(np.arange(9_000))).astype(np.float32)
    places = data.draw(st.lists(st.integers(0, 8_999), min_size=len(rare), max_size=len(rare)))
    values[places] = rare
    line = loss_line(curve(values.tolist()))
    assert line is not None
    steps, drawn = line["steps"], np.array([float(value) for value in line["values"]], np.float32)
    assert len(steps) <= MOST_POINTS
    assert (steps[0], steps[-1]) == (0, 8_999)
    np.testing.assert_array_equal(drawn, values[steps])
    finite = values[np.isfinite(values)]
    assert (np.nanmin(drawn[np.isfinite(drawn)]), drawn[np.isfinite(drawn)].max()) == (finite.min(), finite.max())
    assert np.isfinite(drawn).all() == np.isfinite(values).all()


def test_where_the_loss_broke_is_known_to_the_step_however_many_are_left_out() -> None:
    values = [1.0] * 700 + [math.nan] * 300
    for most in (16_384, 64):
        line = loss_line(curve(values, most))
        assert line is not None
        assert line["nonfinite_from"] == 700
    assert loss_line(curve([math.nan, math.nan])) == {
        "steps": [0, 1],
        "values": ["NaN", "NaN"],
        "nonfinite_from": 0,
    }
    # One that was run again from before the break is whole.
    again = curve([1.0, math.nan])
    again.add(LossStretch.of([(1, 0.5)]))
    assert (again.first_nonfinite, loss_words(again)) == (None, "Training loss: 1 at step 0, 0.5 at step 1.")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], ""),
        ([0.693147], "Training loss: 0.6931 at step 0."),
        ([2.5, 1.0, 0.125], "Training loss: 2.5 at step 0, 0.125 at step 2."),
        ([2.5, math.nan], "Training loss: 2.5 at step 0, NaN at step 1. It is not finite from step 1 on."),
        (
            [2.5, math.inf, 1.0],
            "Training loss: 2.5 at step 0, 1 at step 2. It was not finite at step 1, and became finite again.",
        ),
    ],
)
def test_the_report_says_what_the_loss_did(values: list[float], words: str) -> None:
    losses = curve(values)
    assert loss_words(losses) == words
    report = Report.of([record(NET, {Quantity.VARIANCE: 1.0})], (), NET, {}, losses=losses)
    assert ("<p>Training loss" in report.to_html()) is bool(words)
    assert words in report.to_markdown()
    assert words in report._repr_html_()


# --- in a browser ---------------------------------------------------------------------------------------------------
