"""The page as one file: its modules in one script, its numbers beside them, and the commands that write it."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from browser import COLOURS, Watched, browser, chromium, missing, settled, watched
from builders import blocks, linears, record
from hypothesis import given, settings, strategies as st

from init_monitor import Report, cli
from init_monitor.comparison import RunComparison
from init_monitor.page import bundle
from init_monitor.page.document import BUDGET, LEAST_COLUMNS, ShownRun, document, embedded
from init_monitor.page.loss_line import MOST_POINTS, loss_line, loss_words
from init_monitor.page.payload import decoded
from init_monitor.records import Facts, Finding, LossCurve, LossStretch, Of, Page, Role, Severity, register, unregister
from init_monitor.records.quantities import LAYER_VECTORS, PARAMETER_VECTORS, RESIDUAL_VECTORS, Quantity
from init_monitor.store import RunWriter, read_run, run_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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


# --- commands -------------------------------------------------------------------------------------------------------


def test_report_writes_and_prints_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(stored(tmp_path / "run", 2.0))
    assert cli.main(["report", run]) == 0
    assert "IM101" in capsys.readouterr().out
    assert cli.main(["report", run, "--md"]) == 0
    assert capsys.readouterr().out.startswith("# Signal propagation\n")
    assert cli.main(["report", run, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["settings"] == {"every_n_steps": 50}
    assert content["versions"] == {"torch": "2.13"}
    page = tmp_path / "page.html"
    assert cli.main(["report", run, "--html", str(page)]) == 0
    assert capsys.readouterr().out == f"Written to {page}: open it in a browser.\n"
    text = page.read_text(encoding="utf-8")
    assert '"name":"run"' in text
    assert "2.13" in text


def test_html_goes_into_this_directory_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = stored(tmp_path / "a"), stored(tmp_path / "b")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report", str(first), "--html"]) == 0
    assert cli.main(["compare", str(first), str(second), "--html"]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.html")) == [
        "init_monitor_comparison.html",
        "init_monitor_report.html",
    ]


def test_compare_prints_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = stored(tmp_path / "small" / "version_0", 1.0)
    second = stored(tmp_path / "large" / "version_0", 1000.0, {"every_n_steps": 10}, layers=4)
    assert cli.main(["compare", str(first), str(second)]) == 0
    lines = [re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]
    assert ["small/version_0", "large/version_0"] in lines
    assert ["every_n_steps", "50", "10"] in lines
    assert ["layers", "3", "4"] in lines
    assert ["net.3", "not there", "Linear"] in lines
    assert ["IM101 exploding-activations", "not found", "critical from step 2"] in lines
    assert ["median variance", "1", "1000"] in lines or ["median variance", "1", "1e3"] in lines
    # Versions are the same, and so not worth a line; a gradient was measured in neither.
    assert not any("torch" in line or "median gradient variance" in line for line in lines)


def test_compare_takes_the_median_update_ratio_of_the_weights_alone(tmp_path: Path) -> None:
    net = linears(3)
    path = run_file(tmp_path)
    path.parent.mkdir(parents=True)
    writer = RunWriter(path, settings={}, versions={})
    names = [name for layer in net.layers for name in (layer.weight, layer.bias)]
    ratios = {Quantity.UPDATE_RATIO: [1e-3, 5.0, 2e-3, 6.0, 4e-3, math.nan]}
    writer.write(record(net, ratios, parameter_names=names), (), net)
    writer.close()
    run = read_run(tmp_path)
    (row,) = {
        row
        for row in RunComparison(("a", "b"), (run, run)).rows
        if row.what == "median update ratio" and row.part == "newest step"
    }
    assert row.first == row.second == "0.002"


def test_of_two_different_networks_compare_lists_a_few_layers_and_counts_the_others(tmp_path: Path) -> None:
    runs = (read_run(stored(tmp_path / "a", layers=2)), read_run(stored(tmp_path / "b", layers=100)))
    rows = [row for row in RunComparison(("a", "b"), runs).rows if row.part == "network"]
    assert [row.what for row in rows] == ["layers", *(f"net.{i}" for i in range(2, 10)), "and 90 more layers"]


@pytest.mark.parametrize("words", [["report", "--md"], ["report"], ["compare", "é"]], ids=" ".join)
def test_where_there_is_no_unicode_every_sign_is_spelled(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ä", "é"):
        stored(tmp_path / name, 2.0)
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert cli.main([words[0], "ä", *words[1:]]) == 0
    out.flush()
    assert b"IM101" in out.buffer.getvalue() or words[0] == "compare"


def test_compare_says_which_layers_have_another_size(tmp_path: Path) -> None:
    first, second = read_run(stored(tmp_path / "a")), read_run(stored(tmp_path / "b"))
    narrow, *others = second.structure.layers
    narrow = dataclasses.replace(narrow, fan_out=7)
    second = dataclasses.replace(second, structure=dataclasses.replace(second.structure, layers=(narrow, *others)))
    rows = [row for row in RunComparison(("a", "b"), (first, second)).rows if row.part == "network"]
    assert [(row.what, row.first, row.second) for row in rows[1:]] == [
        ("net.0", "Linear, fan_in 512, fan_out 512, float32", "Linear, fan_in 512, fan_out 7, float32")
    ]


def test_the_same_run_twice_differs_in_nothing(tmp_path: Path) -> None:
    run = read_run(stored(tmp_path / "run"))
    rows = RunComparison(("a", "b"), (run, run)).rows
    assert rows
    assert [row for row in rows if row.first != row.second] == []
    assert {row.part for row in rows} == {"network", "first sampled step", "newest step"}


@pytest.mark.parametrize("command", ["report", "compare"])
def test_bad_input_ends_with_status_2_and_one_sentence(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, empty = stored(tmp_path / "good"), tmp_path / "empty"
    empty.mkdir()
    corrupt, newer = stored(tmp_path / "corrupt"), stored(tmp_path / "newer")
    lines = run_file(corrupt).read_text().splitlines()
    run_file(corrupt).write_text("\n".join([lines[0], '{"kind":"step","step":', *lines[2:]]) + "\n")
    run_file(newer).write_text(run_file(newer).read_text().replace('"schema":1', '"schema":99'))
    for bad, words in (
        (tmp_path / "nowhere", "no such run"),
        (empty, "no run in"),
        (corrupt, "line 2: the line is corrupt"),
        (newer, "the run has schema version 99, expected 1 or 2; upgrade init_monitor"),
    ):
        assert cli.main([command, str(bad), *([str(good)] if command == "compare" else [])]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1


def test_a_file_that_cannot_be_written_ends_with_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = stored(tmp_path / "run")
    target = tmp_path / "nowhere" / "page.html"
    assert cli.main(["report", str(run), "--html", str(target)]) == 2
    expected = f"init-monitor: cannot write {target}: No such file or directory; give another file with --html FILE\n"
    assert capsys.readouterr().err == expected


def test_a_run_that_is_still_being_written_is_shown_so_far(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = stored(tmp_path / "run")
    text = run_file(run).read_text()
    run_file(run).write_text(text[:-40])
    assert cli.main(["report", str(run)]) == 0
    assert "4 sampled steps" in capsys.readouterr().out


def test_the_commands_need_no_torch(tmp_path: Path) -> None:
    run = stored(tmp_path / "run", 2.0)
    hide = "import sys\nfor name in ('torch', 'lightning', 'pytorch_lightning'): sys.modules[name] = None\n"
    for words in (["report", str(run), "--html", "a.html"], ["report", str(run)], ["compare", str(run), str(run)]):
        code = f"{hide}from init_monitor import cli\nsys.exit(cli.main({words!r}))"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
        )
        assert done.returncode == 0, done.stderr


# --- in a browser ---------------------------------------------------------------------------------------------------


@pytest.fixture
def page(running: Any) -> Iterator[Watched]:
    with watched(running, color_scheme="dark") as opened:
        yield opened


@pytest.mark.slow
def test_the_report_opens_from_disk_and_shows_every_view(tmp_path: Path, page: Watched) -> None:
    file = tmp_path / "page.html"
    assert cli.main(["report", str(stored(tmp_path / "run", 2.0)), "--html", str(file)]) == 0
    page.page.goto(file.as_uri())
    settled(page.page)
    assert "It grows </script> fast." in page.page.inner_text("main.report >> nth=0")
    assert page.page.locator(".im.dark").count() == 1
    for view in ("overview", "propagation", "residuals", "units", "layer", "findings", "compare"):
        page.page.click(f".tab[title^={view.capitalize()}]")
        settled(page.page)
        for canvas in page.page.locator("canvas.plot").all():
            assert canvas.evaluate(COLOURS) > 5
    assert page.page.locator(".tab .count").inner_text() == "1"
    page.shot("report-dark")


@pytest.mark.slow
def test_a_finding_without_layers_is_about_the_whole_network_and_passes_every_filter(
    tmp_path: Path, page: Watched
) -> None:
    whole = Finding(
        "update-ratio", "IM603", Severity.WARNING, (), 2, "The weights hardly move.", remedy="Learn faster."
    )
    records = [record(NET, {Quantity.VARIANCE: 1.0}, step=step) for step in range(3)]
    file = tmp_path / "page.html"
    Report.of(records, (FOUND, whole), NET, {}).to_html(file)
    page.page.goto(file.as_uri())
    page.page.click(".tab[title^=Findings]")
    settled(page.page)
    entries = page.page.locator("details.finding")
    assert [entry.locator("summary .muted").first.inner_text() for entry in entries.all()] == [
        "net.1",
        "the whole network",
    ]
    page.page.fill(".filter", "net.0")
    page.page.wait_for_function("document.querySelectorAll('details.finding').length === 1")
    assert entries.first.locator(".places").text_content() == "At step 2"


@pytest.mark.slow
def test_a_run_that_ended_in_nan_says_so_and_leads_back(tmp_path: Path, page: Watched) -> None:
    well, broken = {Quantity.VARIANCE: 1.0, Quantity.NONFINITE_COUNT: 0.0}, {Quantity.VARIANCE: math.nan}
    dead = {Quantity.DEAD_FRACTION: 0.25, Quantity.ALL_POSITIVE_FRACTION: 0.0}
    records = [record(NET, {**well, **dead}, step=step) for step in range(3)]
    records += [record(NET, {**broken, **dead, Quantity.NONFINITE_COUNT: 8.0}, step=step) for step in range(3, 6)]
    file = tmp_path / "page.html"
    Report.of(records, (), NET, {}).to_html(file)
    page.page.goto(file.as_uri())
    page.page.click(".tab[title^=Units]")
    settled(page.page)
    for step, category in ((5, "not finite (NaN or ∞)"), (2, "both signs (working)")):
        page.page.locator(".slider").fill(str(step))
        page.page.wait_for_selector(f".im[data-step='{step}']")
        settled(page.page)
        box = page.page.locator(".card .surface").first.bounding_box()
        page.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 12)
        page.page.wait_for_selector(".tooltip:not([hidden])")
        shares = page.page.locator(".tooltip .reading").all_inner_texts()
        assert f"{category}75 %" in [one.replace("\n", "") for one in shares]
        page.page.mouse.move(0, 0)
        page.page.wait_for_selector(".tooltip", state="hidden")
    page.page.locator(".slider").fill("5")
    page.page.click(".tab[title^=Propagation]")
    page.page.click(".way-back .link:has-text('Go back to step 2')")
    page.page.wait_for_selector(".im[data-step='2']")
    settled(page.page)
    assert page.page.locator(".way-back").count() == 0


@pytest.mark.slow
def test_the_weights_of_attention_are_in_the_picture_of_the_updates(tmp_path: Path, page: Watched) -> None:
    names = ("a.in_proj_weight", "a.in_proj_bias", "a.out_proj.weight", "a.out_proj.bias")
    (layer,) = linears(1).layers
    attention = dataclasses.replace(layer, name="a[0]", role=Role.WEIGHT, weight="", bias="", parameters=names)
    scale = dataclasses.replace(layer, name="n", role=Role.NORMALISATION, weight="n.weight", parameters=("n.weight",))
    net = dataclasses.replace(NET, layers=(attention, scale))
    columns = {Quantity.VARIANCE: 1.0, Quantity.UPDATE_RATIO: 1e-3}
    records = [record(net, columns, step=step, parameter_names=[*names, "n.weight"]) for step in range(2)]
    file = tmp_path / "page.html"
    Report.of(records, (), net, {}).to_html(file)
    page.page.goto(file.as_uri())
    settled(page.page)
    with page.page.expect_download() as saved:
        page.page.locator("section[data-quantity=update_ratio] [aria-label*=CSV]").click()
    rows = Path(saved.value.path()).read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[0] for row in rows] == ["name", "a.in_proj_weight", "a.out_proj.weight"]


@pytest.mark.slow
def test_on_a_narrow_screen_tables_are_moved_and_the_page_is_not(tmp_path: Path, page: Watched) -> None:
    net, file = blocks(2, named="a_rather_long_name_of_a_stage_of_the_network"), tmp_path / "page.html"
    residual = dict.fromkeys(RESIDUAL_VECTORS, 1.0)
    Report.of([record(net, {Quantity.VARIANCE: 1.0, **residual})], (), net, {}).to_html(file)
    page.page.set_viewport_size({"width": 600, "height": 800})
    page.page.goto(file.as_uri())
    settled(page.page)
    assert page.page.evaluate("document.querySelector('table.residuals').scrollWidth") > 600
    assert page.page.evaluate("document.documentElement.scrollWidth") == 600


@pytest.mark.slow
def test_the_comparison_opens_at_its_pictures(tmp_path: Path, page: Watched) -> None:
    file = tmp_path / "page.html"
    first, second = stored(tmp_path / "a"), stored(tmp_path / "b", 1000.0)
    assert cli.main(["compare", str(first), str(second), "--html", str(file)]) == 0
    page.page.goto(file.as_uri())
    settled(page.page)
    assert page.page.locator(".grid.columns h3").all_inner_texts() == ["a Forward variance", "b Forward variance"]
    assert page.page.locator(".tab[aria-selected=true]").inner_text() == "Compare"
    # The keys of the rest of the page are not its business.
    page.page.evaluate("document.activeElement.blur()")
    page.page.keyboard.press("1")
    assert page.page.locator(".tab[aria-selected=true]").inner_text() == "Compare"


def strip_colours(page: Watched) -> int:
    colours: int = page.page.locator(".strip canvas.plot").evaluate(COLOURS)
    return colours


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_loss_that_broke_is_marked_where_it_broke_also_after_the_last_record(
    scheme: str, tmp_path: Path, running: Any
) -> None:
    falling = [2.5 * 0.9**step for step in range(60)] + [math.nan] * 36
    records = [record(NET, {Quantity.VARIANCE: 1.0}, step=step) for step in (*range(10), 50)]
    file = tmp_path / "page.html"
    Report.of(records, (), NET, {}, losses=curve(falling)).to_html(file)
    with watched(running, color_scheme=scheme) as page:
        page.page.goto(file.as_uri())
        settled(page.page)
        above = page.page.inner_text("main.report >> nth=0")
        assert "It is not finite from step 60 on." in above
        # Nobody calls such a run healthy.
        assert "ealthy" not in above + page.page.inner_text(".verdict-table")
        assert page.page.inner_text(".loss").split() == f"loss {2.5 * 0.9**50:.3g} not finite from step 60".split()
        page.page.locator(".slider").fill("3")
        page.page.wait_for_selector(".im[data-step='3']")
        settled(page.page)
        assert page.page.inner_text(".loss b") == f"{2.5 * 0.9**3:.3g}"
        box = page.page.locator(".strip .surface").bounding_box()
        page.page.mouse.move(box["x"] + box["width"] - 10, box["y"] + 30)
        said = [one.replace("\n", " ") for one in page.page.locator(".tooltip .reading").all_inner_texts()]
        assert said[1] == "loss NaN"
        assert 60 <= int(said[0].split()[1]) < 96
        # A click there selects the last record: nothing was measured after it.
        page.page.mouse.down()
        page.page.mouse.up()
        page.page.wait_for_selector(".im[data-step='50']")
        assert strip_colours(page) > 20
        page.shot(f"report-loss-{scheme}")


@pytest.mark.slow
def test_without_losses_there_is_no_line(tmp_path: Path, page: Watched) -> None:
    file = tmp_path / "page.html"
    assert cli.main(["report", str(stored(tmp_path / "run")), "--html", str(file)]) == 0
    page.page.goto(file.as_uri())
    settled(page.page)
    assert page.page.locator(".strip canvas, .loss").count() == 0
    rail, track = (page.page.locator(one).bounding_box() for one in (".rail", ".track"))
    assert rail == track


@pytest.mark.slow
def test_a_fall_of_more_than_two_decades_is_drawn_on_a_log_scale(tmp_path: Path, page: Watched) -> None:
    file = tmp_path / "page.html"
    records = [record(NET, {Quantity.VARIANCE: 1.0}, step=step) for step in range(40)]
    Report.of(records, (), NET, {}, losses=curve(10.0 ** (-step / 10) for step in range(40))).to_html(file)
    page.page.goto(file.as_uri())
    settled(page.page)
    # In the middle of the steps a straight line on a log scale is in the middle; on a linear one it is at the bottom.
    middle = """(canvas) => {
      const {width, height} = canvas;
      const column = canvas.getContext('2d').getImageData(Math.round(width / 2), 0, 1, height - 2).data;
      const inked = [...Array(height - 2).keys()].filter((y) => column[4 * y + 3] > 127);
      return inked.reduce((sum, y) => sum + y, 0) / inked.length / height;
    }"""
    canvas = page.page.locator(".strip canvas.plot")
    assert canvas.evaluate(middle) == pytest.approx(0.5, abs=0.07)
    page.page.click(".segment:has-text('linear')")
    settled(page.page)
    assert canvas.evaluate(middle) > 0.8


@pytest.mark.slow
def test_there_is_one_median(page: Watched) -> None:
    """That of the page is numpy's, of odd and even numbers of values, with infinities and equal ones among them."""
    rng = np.random.default_rng(0)
    drawn = [np.exp(rng.normal(0, 9, size)).tolist() for size in range(1, 40)]
    lists = [*drawn, [0.313, 0.747], [2.0, 2.0, 1.0, 2.0], [-1.0, 0.0, 1e-300, 1e300], [0.0]]
    source = (bundle.STATIC / "median.js").read_text(encoding="utf-8")
    found = page.page.evaluate(
        """async ([source, lists]) => {
          const {median} = await import("data:text/javascript," + encodeURIComponent(source));
          return [lists.map(median), median([]), median([1, Infinity, Infinity]), median([1, Infinity])];
        }""",
        [source, lists],
    )
    assert found[0] == [float(np.median(one)) for one in lists]
    assert found[0][lists.index([0.313, 0.747])] == 0.53
    assert math.isnan(found[1])
    assert found[2:] == [math.inf, math.inf]


@pytest.mark.slow
def test_both_tables_of_a_comparison_say_the_same_median(tmp_path: Path, page: Watched) -> None:
    """The upper one is made in Python, the lower one by the page; of four layers the two in the middle are averaged."""
    net, file = linears(4), tmp_path / "page.html"
    directories = []
    for name, factor in (("a", 1.0), ("b", 100.0)):
        path = run_file(tmp_path / name)
        path.parent.mkdir(parents=True)
        variances = np.array([0.1, 0.313, 0.747, 2.0]) * factor
        names = ["net.0.weight", "net.0.bias", "net.1.weight"]
        columns: dict[Quantity, Any] = {Quantity.VARIANCE: variances, Quantity.UPDATE_RATIO: [1e-3, 0.9, 3e-3]}
        with RunWriter(path) as writer:
            writer.write(record(net, columns, parameter_names=names), (), net)
        directories.append(str(tmp_path / name))
    assert cli.main(["compare", *directories, "--html", str(file)]) == 0
    page.page.goto(file.as_uri())
    settled(page.page)
    for what, expected in (("median variance", ["0.53", "53"]), ("median update ratio", ["0.002", "0.002"])):
        above = page.page.locator("main.report tr", has_text=what).last.locator("td").all_inner_texts()
        place = page.page.locator("table.runs thead th").all_inner_texts().index(what)
        below = [row.locator("th, td").nth(place).inner_text() for row in page.page.locator(".runs tbody tr").all()]
        assert above[-2:] == expected
        assert [float(one.replace("×10⁻³", "e-3")) for one in below] == [float(one) for one in expected]


@pytest.mark.slow
def test_a_registered_quantity_has_its_picture_on_the_overview(tmp_path: Path, page: Watched) -> None:
    facts = Facts(
        of=Of.LAYER,
        title="Crest factor",
        means="largest |x| over the root mean square",
        in_events=True,
        pages=(Page.OVERVIEW,),
        derive=lambda column: column("abs_max") / np.sqrt(column("mean_square")),
    )
    register("crest", facts)
    try:
        columns: dict[Quantity, Any] = {Quantity.VARIANCE: 1.0, Quantity.ABS_MAX: 6.0, Quantity.MEAN_SQUARE: 4.0}
        file = tmp_path / "page.html"
        Report.of([record(NET, columns, step=step) for step in range(3)], (), NET, {}).to_html(file)
    finally:
        unregister("crest")
    page.page.goto(file.as_uri())
    settled(page.page)
    assert page.page.locator("section[data-quantity=crest] h3").inner_text() == "Crest factor"
    with page.page.expect_download() as saved:
        page.page.locator("section[data-quantity=crest] [aria-label*=CSV]").click()
    rows = Path(saved.value.path()).read_text(encoding="utf-8").splitlines()
    assert rows == ["name,0,1,2", *(f"{name},3,3,3" for name in NET.names)]
