"""``init-monitor report`` and ``init-monitor compare``."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from builders import linears, record
from test_page import ROOT, stored

from init_monitor import cli
from init_monitor.comparison import RunComparison
from init_monitor.records.quantities import Quantity
from init_monitor.store import RunWriter, read_run, run_file

if TYPE_CHECKING:
    from pathlib import Path

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
