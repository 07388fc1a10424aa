"""What the console says by default: short, worst first, and code that runs as it is copied from the terminal."""

from __future__ import annotations

import ast
import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
import replays
from builders import linears, record
from rich.console import Console

from init_monitor.display.brief_table import brief_table
from init_monitor.display.causes import causes
from init_monitor.display.kinds import folds
from init_monitor.records import Figure, Finding, LossCurve, LossStretch, Severity, StepRecord, Structure, Table
from init_monitor.records.quantities import Quantity
from init_monitor.report import Report
from init_monitor.sinks import ConsoleSink, Run
from init_monitor.sinks.console import MOST_LINES, MOST_NEWS

GOLDEN = Path(__file__).parents[1] / "golden"
START = range(10)


def printed(name: str, *, width: int = 100, terminal: bool = False, verbose: bool = False, **more: Any) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, force_terminal=terminal, legacy_windows=False)
    run = Run(dense_steps=10, stored=[Path("logs/version_0")])
    replays.replay(name, ConsoleSink(console=console, verbose=verbose), run, **more)
    return out.getvalue()


@pytest.mark.parametrize("way", ["default", "terminal", "verbose"])
@pytest.mark.parametrize("name", replays.NAMES)
def test_what_is_printed_of_a_training_is_what_was_looked_at(
    name: str, way: str, request: pytest.FixtureRequest
) -> None:
    text = printed(name, verbose=way == "verbose", terminal=way == "terminal", width=80 if way == "terminal" else 100)
    path = GOLDEN / "recorded" / f"{name}.{way}.txt"
    if request.config.getoption("--update"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path.name} differs; look, then --update"


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("name", replays.NAMES)
def test_a_run_takes_a_screen_until_something_new_happens(name: str, width: int) -> None:
    lines = printed(name, width=width, terminal=True, steps=START).splitlines()
    assert len(lines) <= MOST_LINES
    whole = printed(name, width=width, terminal=True).splitlines()
    late = [finding for finding in replays.findings_of(name) if finding.step not in START]
    assert len(whole) <= len(lines) + MOST_NEWS * bool(late)


@pytest.mark.parametrize("width", [60, 80, 100, 140])
@pytest.mark.parametrize("name", replays.NAMES)
def test_prose_and_tables_stay_within_the_terminal(name: str, width: int) -> None:
    own = [line for line in printed(name, width=width, terminal=True).splitlines() if not is_whole(line)]
    assert max(map(len, own)) <= width


def is_whole(line: str) -> bool:
    return line.startswith(
        ("for ", "    ", "nn.", "from ", "optimizer", "trainer", "More:", "Stored:", "Init Monitor:")
    )


def code_in(text: str) -> list[str]:
    """What somebody would mark with the mouse: the lines behind an empty one, at the left edge."""
    return [
        block for block in text.split("\n\n")[1:] if block.startswith(("from ", "for ", "nn.", "trainer", "optimizer"))
    ]


@pytest.mark.parametrize("name", ["dead_relu", "exploding", "residual", "vanishing"])
def test_code_that_is_copied_from_the_terminal_is_a_program(name: str) -> None:
    (code,) = code_in(printed(name, width=80, terminal=True))
    verbose = printed(name, width=80, terminal=True, verbose=True)
    ast.parse(code)
    worst = causes(one for one in replays.findings_of(name) if one.step in START)[0]
    assert ast.dump(ast.parse(code)) == ast.dump(ast.parse(worst.code))
    assert f"\n{worst.code}\n" in verbose


def finding(code: str = "IM101", *, severity: Severity = Severity.CRITICAL, **changes: Any) -> Finding:
    made = Finding(f"rule-{code}", code, severity, ("net.1",), 0, f"{code} is wrong. It is so.", remedy="Mend it.")
    return dataclasses.replace(made, **changes)


def test_findings_of_one_cause_have_one_remedy_that_is_said_once() -> None:
    first = "Do a.\n\nfrom torch import nn\n\na()\nb()"
    part, other = "Do b.\n\nb()", "Do c.\n\nc()"
    found = [
        finding("IM502", remedy=part, severity=Severity.WARNING),
        finding("IM703", remedy=other),
        finding("IM101", remedy=first),
        finding("IM601", remedy="Think."),
    ]
    groups = causes(found)
    assert [[one.code for one in group.findings] for group in groups] == [["IM703"], ["IM101", "IM502"], ["IM601"]]
    assert (groups[1].remedy, groups[1].code) == ("Do a.", "from torch import nn\n\na()\nb()")


def played(*told: tuple[Finding, ...], dense_steps: int = 2, **options: Any) -> list[str]:
    said: list[str] = []
    net = linears(3)
    sink = ConsoleSink(**options)
    sink.open(Run(dense_steps=dense_steps, write=said.append))
    for step, findings in enumerate(told):
        sink.emit(record(net, {Quantity.VARIANCE: 1.0, Quantity.COUNT: 8.0}, step=step), findings, net)
    sink.close()
    return said


def test_what_is_found_at_the_start_is_told_at_once_with_the_table_and_worst_first() -> None:
    start, end = played((finding("IM301", severity=Severity.WARNING),), (finding("IM601", step=1),), ())
    assert start.startswith("Signal propagation at step 1: 3 layers")
    assert start.index("critical IM601") < start.index("warning IM301")
    assert "More: init-monitor explain IM601" in start
    assert end == "Init Monitor: 1 critical finding, 1 warning in 3 steps (3 of them measured)."


def test_what_became_worse_before_it_was_told_is_told_once() -> None:
    start, _ = played((finding(severity=Severity.WARNING),), (finding(step=1),))
    assert start.count("IM101 rule-IM101") == 1
    assert "critical IM101" in start


def test_what_becomes_worse_later_says_what_it_was_and_names_its_remedy() -> None:
    _, later, _ = played(
        (finding(severity=Severity.WARNING, remedy="Mend it.\n\nmend()"),),
        (),
        (finding(step=2, remedy="Mend it.\n\nmend()"),),
    )
    assert "critical IM101 rule-IM101 at step 2 (a warning at step 0): net.1" in later
    assert "To do: as for IM101 of step 0." in later
    assert "mend()" not in later


def test_information_is_counted_and_named_and_nothing_else() -> None:
    start, end = played((finding(severity=Severity.INFO),), ())
    assert "Mend it" not in start
    assert "is wrong" not in start
    assert end == "Init Monitor: 1 note (IM101 rule-IM101) in 2 steps (2 of them measured)."


def test_something_critical_does_not_wait_for_a_slow_start(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1000, 7))
    monkeypatch.setattr("init_monitor.sinks.console.time.monotonic", lambda: float(next(now)))
    said = played((finding(),), (), (), dense_steps=10)
    assert "critical IM101" in said[0]
    assert len(said) == 2


def test_a_finding_says_how_sure_it_is() -> None:
    evidence = {"dead_fraction": Figure(0.9, "of the units"), "samples": Figure(256, "samples per unit")}
    expected = {"dead_fraction": Figure(0.35, "of the units, or less")}
    start, _ = played((finding(evidence=evidence, expected=expected),), ())
    assert (
        "Measured: dead units 0.9 of the units (expected: 0.35 of the units, or less); seen over 256 samples per unit."
        in " ".join(start.split())
    )


def test_layers_fold_no_further_than_they_must() -> None:
    names = [
        "stem",
        *(f"layer{i}.{j}.{part}" for i in (1, 2, 3) for j in range(4) for part in ("conv1", "bn1", "conv2")),
        "head",
    ]
    kinds = ["Conv2d", *(["Conv2d", "BatchNorm2d", "Conv2d"] * 12), "Linear"]
    for most, rows in ((40, 38), (11, 11), (9, 4), (3, 3)):
        made = folds(names, kinds, most)
        assert len(made) == rows
        assert sorted(i for fold in made for i in fold.rows) == list(range(len(names)))
    assert [fold.label for fold in folds(names, kinds, 9)] == [
        "stem",
        "layer1…3.0…3.conv1…2",
        "layer1…3.0…3.bn1",
        "head",
    ]
    assert [fold.label for fold in folds(names, kinds, 2)][-1].endswith("layers of other kinds")


def test_a_network_of_which_nothing_is_watched_is_never_called_healthy() -> None:
    losses = LossStretch.of([(i, 2.0 * 0.9**i) for i in range(60)])
    curve = LossCurve()
    curve.add(losses)
    empty = StepRecord(
        step=59, time=0.0, layer_table=Table((), {}), parameter_table=Table((), {}), residual_table=Table((), {}), losses=losses
    )  # fmt: skip
    said: list[str] = []
    sink = ConsoleSink()
    sink.open(Run(dense_steps=1, write=said.append))
    sink.emit(empty, (), Structure())
    sink.close()
    assert len(said) == 1
    assert "nothing was measured" in said[0]
    assert "healthy" not in said[0]
    report = Report.of([empty], (), Structure(), {}, losses=curve)
    assert "nothing was measured" in report.verdict
    assert "ealthy" not in report.verdict


def test_a_narrow_terminal_loses_columns_but_never_a_digit() -> None:
    net = linears(3)
    measured = record(net, {Quantity.VARIANCE: 1.23456e-30, Quantity.COUNT: 8.0, Quantity.GRADIENT_VARIANCE: 4.5e-20})
    for width in (40, 60, 80):
        out = io.StringIO()
        Console(file=out, width=width, color_system=None).print(brief_table(measured, net, width=width))
        assert out.getvalue().count("1.11e-15") == 3
        assert max(map(len, map(str.rstrip, out.getvalue().splitlines()))) <= width
