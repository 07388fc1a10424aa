"""What a person at the terminal sees: the table, the panels, the closing line."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import re
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import linear, linears, record, rectifier
from hypothesis import given, strategies as st
from rich.cells import cell_len
from rich.console import Console

from init_monitor.display.heatmap import heatmap
from init_monitor.display.layer_table import findings_panel, propagation_table
from init_monitor.display.log_bar import ASCII_MARKS, BAR_WIDTH, UNICODE_MARKS, LogScale
from init_monitor.display.row_folding import MOST_ROWS, folded
from init_monitor.display.structure_tree import structure_tree
from init_monitor.records import Figure, Finding, Severity, StepRecord, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.sinks import ConsoleSink, Run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType


def finding(layers: tuple[str, ...] = ("net.1",), **changes: Any) -> Finding:
    made = Finding(
        rule="exploding-activations",
        code="IM101",
        severity=Severity.CRITICAL,
        layers=layers,
        step=3,
        message="The variance grows 512× per layer.",
        evidence={"growth": Figure(512.0, "× per layer")},
        expected={"growth": Figure(1.0, "× per layer")},
        remedy="Initialise with He.\n\nnn.init.kaiming_normal_(model[0].weight)",
        source="He et al. 2015, Eq. 10",
    )
    return dataclasses.replace(made, **changes)


def measured(structure: Structure, std: list[float] | float, *, step: int = 0, **more: Any) -> StepRecord:
    """Every layer measured, with the given standard deviations."""
    variance = [one * one for one in std] if isinstance(std, list) else std * std
    columns = {
        Quantity.COUNT: 4096.0,
        Quantity.MEAN: 0.5,
        Quantity.VARIANCE: variance,
        Quantity.ABS_MAX: 3.25,
        Quantity.NONFINITE_COUNT: 0.0,
        Quantity.GRADIENT_COUNT: 4096.0,
        Quantity.GRADIENT_VARIANCE: 1e-6,
        Quantity.GRADIENT_NONFINITE_COUNT: 0.0,
    }
    return record(structure, {**columns, **more.pop("columns", {})}, step=step, **more)


def rendered(content: RenderableType, width: int = 100, **options: Any) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, **options).print(content)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def row(lines: list[str], name: str) -> str:
    (found,) = (line for line in lines if line.startswith(f"{name} "))
    return found


def test_a_row_shows_every_number_of_its_layer() -> None:
    lines = rendered(propagation_table(measured(linears(2), [1.0, 3.0]), linears(2)))
    assert lines[0] == "Signal propagation at step 0: 2 layers"
    assert lines[1].split() == ["std,", "log"]
    assert lines[2].split() == [
        "layer",
        "mean",
        "std",
        "1e-1",
        "1e1",
        "max",
        "|x|",
        "grad",
        "std",
        "dead",
        "%",
        "status",
    ]
    assert row(lines, "net.1").split() == ["net.1", "Linear", "0.5", "3", "│███", "3.25", "0.001", "n/a", "healthy"]


def test_dead_units_are_a_percentage_of_rectifiers_with_its_bound_where_few_samples_were_seen() -> None:
    names = ("few", "enough", "none", "some")
    net = Structure((linear(0, "fc"), *(rectifier(i + 1, name) for i, name in enumerate(names))))
    units = {Quantity.UNIT_COUNT: 64, Quantity.UNIT_SAMPLES: [math.nan, 999, 1000, 64, 320]}
    dead = {
        Quantity.DEAD_FRACTION: [math.nan, 0.125, 0.125, 0.0, 0.5],
        Quantity.DEAD_AT_LEAST: [math.nan, 0.0, 0.125, math.nan, 0.4],
        Quantity.ALL_POSITIVE_FRACTION: 0,
    }
    lines = rendered(propagation_table(measured(net, 1.0, columns={**units, **dead}), net))
    assert row(lines, "fc").split()[-2] == "n/a"
    assert row(lines, "few").split()[-2] == "≤12.5"
    assert row(lines, "none").split()[-2] == "0.0"
    assert row(lines, "some").split()[-2] == "40.0–50.0"
    assert row(lines, "enough").split()[-2] == "12.5"


def test_the_status_is_the_worst_finding_that_names_the_layer_or_its_weight() -> None:
    net = linears(4)
    found = (
        finding(("net.1",), severity=Severity.WARNING, rule="linear-regime"),
        finding(("net.1", "net.2")),
        finding(("net.3.weight",), rule="some-new-rule", severity=Severity.INFO),
    )
    lines = rendered(propagation_table(measured(net, 1.0), net, iter(found)))
    ends = [row(lines, f"net.{i}").split("n/a")[-1].strip() for i in range(4)]
    assert ends == ["healthy", "exploding !", "exploding !", "some new rule !"]
    assert any(line.startswith("! at fault") for line in lines)


def test_a_layer_that_was_not_measured_or_holds_nan_is_never_called_healthy() -> None:
    net = linears(3)
    columns = {
        Quantity.COUNT: [0, 10, 10],
        Quantity.NONFINITE_COUNT: [0, 2, 0],
        Quantity.GRADIENT_NONFINITE_COUNT: [0, 0, 1],
    }
    lines = rendered(propagation_table(measured(net, [math.nan, 1.0, 1.0], columns=columns), net))
    assert row(lines, "net.0").endswith("not measured")
    assert row(lines, "net.1").endswith("non-finite")
    assert row(lines, "net.2").endswith("non-finite")


def test_a_layer_without_gradient_says_none() -> None:
    net = linears(1)
    lines = rendered(propagation_table(measured(net, 1.0, columns={Quantity.GRADIENT_COUNT: math.nan}), net))
    assert "none" in row(lines, "net.0").split()


def test_an_unknown_structure_still_gives_a_table() -> None:
    assert row(rendered(propagation_table(measured(linears(1), 1.0), Structure())), "net.0").split()[1] == "0.5"


@given(st.lists(st.floats(1e-30, 1e30), min_size=2, max_size=30))
def test_bars_grow_with_the_value_on_one_scale(values: list[float]) -> None:
    scale = LogScale.over(values)
    for marks in (UNICODE_MARKS, ASCII_MARKS):
        bars = [scale.bar(value, marks) for value in sorted(values)]
        assert all(len(bar) <= BAR_WIDTH and bar[scale.neutral] == marks.neutral for bar in bars)
        lengths = [len(bar.strip()) * (1 if bar.rstrip()[-1] != marks.neutral else -1) for bar in bars]
        assert lengths == sorted(lengths) or {-1, 1} >= {abs(n) for n in lengths if n in (-1, 1)}
        below = [len(bar.strip()) for bar, value in zip(bars, sorted(values), strict=True) if value < 1]
        above = [len(bar.strip()) for bar, value in zip(bars, sorted(values), strict=True) if value >= 1]
        assert below == sorted(below, reverse=True)
        assert above == sorted(above)


def test_the_extremes_of_thirty_decades_fill_the_bar_to_both_sides() -> None:
    scale = LogScale.over([1e-15, 1.0, 1e15])
    assert scale.header() == "1e-15    1e15"
    assert [scale.bar(value) for value in (1e-15, 1.0, 1e15)] == ["██████│", "      │", "      │██████"]


def test_bars_of_an_even_network_are_just_the_mark() -> None:
    scale = LogScale.over([0.98, 1.0, 1.04])
    assert {scale.bar(value).strip() for value in (0.98, 1.0, 1.04)} == {"│"}


def test_zero_and_infinity_end_in_arrows_and_nan_has_no_bar() -> None:
    scale = LogScale.over([0.0, math.inf, 1.0])
    assert [scale.bar(value) for value in (0.0, math.inf, math.nan)] == ["◀█████│", "      │█████▶", ""]
    assert [scale.bar(value, ASCII_MARKS) for value in (0.0, math.inf)] == ["<#####|", "      |#####>"]


def test_up_to_forty_layers_are_all_shown() -> None:
    assert list(folded(MOST_ROWS, [])) == [range(i, i + 1) for i in range(MOST_ROWS)]


@given(st.integers(1, 400), st.lists(st.sets(st.integers(0, 399)), max_size=5))
def test_folding_loses_no_row_and_keeps_the_table_on_a_screen(count: int, groups: list[set[int]]) -> None:
    runs = list(folded(count, [{i for i in group if i < count} for group in groups]))
    assert [i for run in runs for i in run] == list(range(count))
    assert len(runs) <= MOST_ROWS
    shown = {run[0] for run in runs if len(run) == 1}
    assert {0, count - 1} <= shown


def test_a_deep_network_shows_its_ends_the_blamed_layer_and_what_it_left_out() -> None:
    net = linears(100)
    stds = [1.0] * 100
    stds[30], stds[31] = 0.98, 1.04
    lines = rendered(propagation_table(measured(net, stds), net, (finding(("net.60",)),)))
    shown = [line.split()[0] for line in lines[4:] if not line.startswith(("!", "there"))]
    assert shown == [f"net.{i}" for i in range(6)] + ["…", "net.60", "…"] + [f"net.{i}" for i in range(94, 100)]
    first, second = (line for line in lines if line.startswith("…"))
    assert first.split() == ["…", "54", "more", "layers", "0.98–1.04", "healthy"]
    assert second.split() == ["…", "33", "more", "layers", "1", "healthy"]


def test_a_fold_over_blamed_layers_says_how_many_of_them_are() -> None:
    net = linears(100)
    found = finding(tuple(f"net.{i}" for i in range(20, 80)))
    lines = rendered(propagation_table(measured(net, 2.0), net, (found,)))
    folds = [line.split("layers")[1].split() for line in lines if "more layers" in line]
    assert folds == [["2", "healthy"], ["2", "exploding", "!"], ["2", "healthy"]]
    many = [finding((f"net.{i}",)) for i in range(10, 90, 2)]
    lines = rendered(propagation_table(measured(net, 2.0), net, many))
    assert any(line.endswith(" exploding !") and "more layers" in line for line in lines)
    assert len(lines) <= 5 + MOST_ROWS


@pytest.mark.parametrize("plain", [False, True])
def test_the_widest_table_fits_a_hundred_columns(*, plain: bool) -> None:
    net = Structure(
        tuple(
            rectifier(i, f"model.encoder.layers.{i}.self_attention.output.dense.activation", kind="TransformerEncoder")
            for i in range(60)
        )
    )
    columns = {
        Quantity.MEAN: -1.23456e-15,
        Quantity.ABS_MAX: 1.23456e-15,
        Quantity.GRADIENT_VARIANCE: 1.23456e-25,
        Quantity.UNIT_COUNT: 10.0,
        Quantity.UNIT_SAMPLES: 10.0,
        Quantity.DEAD_FRACTION: 0.5,
        Quantity.ALL_POSITIVE_FRACTION: 0.5,
    }
    stds = [1.2345678e-15 * 10 ** (i / 2) for i in range(60)]
    found = finding(net.names[30:40], rule="linear-regime")
    lines = rendered(propagation_table(measured(net, stds, columns=columns), net, (found,), plain=plain), 200)
    assert 80 < max(map(len, lines)) <= 100
    assert lines[0] == "Signal propagation at step 0: 60 layers of model.encoder.layers"
    assert any(line.startswith("31.self_") and "vation " in line for line in lines)
    assert "linear regime" in "".join(lines)


@pytest.mark.parametrize("width", [60, 70, 80, 90])
def test_a_narrow_terminal_loses_whole_columns_but_never_a_digit(width: int) -> None:
    net = Structure(tuple(rectifier(i, f"blocks.{i}.activation", kind="LeakyReLU") for i in range(3)))
    columns = {Quantity.MEAN: -1.23456e-15, Quantity.ABS_MAX: 4.56789e-15, Quantity.GRADIENT_VARIANCE: 1.23456e-25}
    lines = rendered(propagation_table(measured(net, 7.89e-15, columns=columns), net, width=width), width)
    assert max(map(len, lines)) <= width
    header = lines[2]
    for name, number in (("mean", "-1.23e-15"), ("max |x|", "4.57e-15"), ("grad std", "3.51e-13"), ("std", "7.89e-15")):
        assert all((number in line) is (name in header) for line in lines[4:])
    assert all(line.endswith(" healthy") for line in lines[4:])


def test_a_panel_says_everything_the_finding_knows() -> None:
    text = "\n".join(rendered(findings_panel(finding(tuple(f"net.{i}" for i in range(4, 42, 2))))))
    for words in (
        "critical: IM101 exploding-activations, step 3",
        "net.4 … net.40 (19 layers)",
        "The variance grows 512× per layer.",
        "growth   512× per layer       1× per layer",
        "What to do: Initialise with He.",
        "Source: He et al. 2015, Eq. 10",
    ):
        assert words in text


def test_the_code_of_a_panel_can_be_copied_line_by_line() -> None:
    code = "for m in model.modules():\n    if isinstance(m, nn.Linear):\n        nn.init.zeros_(m.bias)"
    lines = rendered(findings_panel(finding(remedy=f"Change it.\n\n{code}\n")))
    start = next(i for i, line in enumerate(lines) if "for m in" in line)
    assert lines[start : start + 3] == code.split("\n")


def test_a_comment_in_the_code_stays_a_comment_at_any_width() -> None:
    code = "def remedy(x):\n    # " + "as good as in the data " * 8 + "\n    return x / 2"
    for width in (40, 80, 120):
        console = Console(file=io.StringIO(), width=width)
        console.print(findings_panel(finding(remedy=f"Change it.\n\n{code}\n"), plain=True))
        lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
        begin = next(i for i, line in enumerate(lines) if line.strip() == "def remedy(x):")
        end = next(i for i, line in enumerate(lines) if line.strip() == "return x / 2")
        assert all(len(line) <= width for line in lines)
        assert all(line.strip().startswith("# ") for line in lines[begin + 1 : end])
        assert (
            " ".join(line.strip().removeprefix("# ") for line in lines[begin + 1 : end])
            == ("as good as in the data " * 8).strip()
        )


def test_a_bare_finding_gives_a_short_panel() -> None:
    bare = Finding("symmetry", "IM501", Severity.INFO, (), 0, "All units are equal.")
    assert [line.strip() for line in rendered(findings_panel(bare))[1:-1]] == ["All units are equal."]


ODD_NAMES = (
    "blocks[0]",
    "[bold]x[/bold]",
    "[/]",
    "名前",
    "a\x1b[31mb",
    "line\nend",
    "\ud800",
    "\u202e",
    "é" * 90,
    ":smile:",
)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("verbose", [False, True])
def test_odd_names_survive_in_every_encoding(
    encoding: str, monkeypatch: pytest.MonkeyPatch, *, terminal: bool, verbose: bool
) -> None:
    net = Structure(tuple(linear(i, name) for i, name in enumerate(ODD_NAMES)))
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(out, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("TERM", "xterm")
    sink = ConsoleSink(verbose=verbose)
    sink.open(Run(dense_steps=1))
    sink.emit(measured(net, 1.0), (finding(ODD_NAMES[:3]),), net)
    sink.close()
    out.seek(0)
    text = out.read()
    assert "\x1b[31mb" not in text
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "blocks[0] " in text or not verbose
    assert "blocks[0]" in text
    assert "[bold]x[/bold]" in text
    assert ":smile:" in text or not verbose
    assert ("名前" in text) is (encoding == "utf-8") or not verbose


def played(sink: ConsoleSink, steps: int, found: Mapping[int, tuple[Finding, ...]] | None = None, **run: Any) -> None:
    net = linears(2)
    sink.open(Run(**run))
    for step in range(steps):
        sink.emit(measured(net, 1.0, step=step), (found or {}).get(step, ()), net)
    sink.close()


def test_the_table_comes_once_when_the_dense_start_is_over() -> None:
    printed: list[str] = []
    net = linears(2)
    sink = ConsoleSink(verbose=True)
    sink.open(Run(dense_steps=3, write=printed.append))
    for step, tables in enumerate([0, 0, 1, 1]):
        sink.emit(measured(net, 1.0, step=step), (), net)
        assert len(printed) == tables
    assert printed[0].startswith("Signal propagation at step 2: 2 layers")
    sink.close()
    assert len(printed) == 2


def test_a_run_that_ends_earlier_gets_its_table_at_the_end() -> None:
    printed: list[str] = []
    played(ConsoleSink(verbose=True), 2, dense_steps=10, write=printed.append)
    assert printed[0].startswith("Signal propagation at step 1: 2 layers")
    assert printed[1] == "Init Monitor: no findings in 2 steps (2 of them measured); the loss is not known."


def test_the_closing_line_counts_steps_not_samples() -> None:
    printed: list[str] = []
    net = linears(2)
    sink = ConsoleSink(verbose=True)
    sink.open(Run(write=printed.append))
    for step in (0, 1, 50, 3199):
        sink.emit(measured(net, 1.0, step=step), (), net)
    sink.close()
    assert printed[-1] == "Init Monitor: no findings in 3,200 steps (4 of them measured); the loss is not known."


def test_the_closing_line_counts_findings_per_severity() -> None:
    printed: list[str] = []
    found = {
        0: (finding(), finding(("net.0",), severity=Severity.WARNING), finding(("a",), severity=Severity.WARNING)),
        1: (finding(severity=Severity.INFO),),
    }
    played(ConsoleSink(verbose=True), 2, found, write=printed.append)
    assert printed[-1] == "Init Monitor: 1 critical finding, 2 warnings, 1 note in 2 steps (2 of them measured)."


def test_a_finding_is_printed_once_even_if_it_is_sent_again() -> None:
    printed: list[str] = []
    found = {0: (finding(),), 1: (finding(step=9),), 2: (finding(severity=Severity.WARNING),)}
    played(ConsoleSink(verbose=True), 3, found, write=printed.append)
    assert sum("IM101" in text for text in printed) == 2
    assert "1 critical finding, 1 warning in 3 steps" in printed[-1]


def test_a_second_run_starts_from_nothing() -> None:
    printed: list[str] = []
    sink = ConsoleSink(verbose=True)
    for _ in range(2):
        played(sink, 1, {0: (finding(),)}, dense_steps=1, write=printed.append)
    assert printed[:3] == printed[3:]
    assert len(printed) == 6


def test_a_run_without_a_step_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    played(ConsoleSink(verbose=True), 0)
    assert capsys.readouterr().out == ""


def test_quiet_prints_warnings_and_critical_findings_and_nothing_else() -> None:
    printed: list[str] = []
    found = {0: (finding(), finding(severity=Severity.INFO), finding(severity=Severity.WARNING))}
    played(ConsoleSink(quiet=True, verbose=True), 2, found, dense_steps=1, write=printed.append)
    assert [text.split(":")[0].split()[-1] for text in printed] == ["critical", "warning"]


def test_where_stdout_is_no_terminal_text_is_plain_ascii_of_a_hundred_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with_words = finding(
        message="The variance grows with every layer, as its weights are too large for its inputs. " * 3
    )
    played(
        ConsoleSink(verbose=True), 1, {0: (dataclasses.replace(with_words, evidence={}, expected={}),)}, dense_steps=1
    )
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    assert 90 < max(map(len, out.splitlines())) <= 100
    assert all(line == line.rstrip() for line in out.splitlines())


def test_a_given_console_keeps_its_width_and_colours() -> None:
    out = io.StringIO()
    console = Console(file=out, width=70, force_terminal=True, color_system="truecolor", legacy_windows=False)
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        played(ConsoleSink(verbose=True, console=console), 1, {0: (finding(),)}, dense_steps=1)
    assert stdout.getvalue() == ""
    assert "\x1b[1;31m" in out.getvalue()
    rule = next(line for line in out.getvalue().splitlines() if "critical: IM101" in line)
    assert rule.count("─") + len("critical: IM101 exploding-activations, step 3 ") == 70


def test_without_a_standard_output_nothing_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    played(ConsoleSink(verbose=True), 1, {0: (finding(),)}, dense_steps=1)


@pytest.mark.parametrize("piece", ["x", "a.", "a ", "名", "\u0301", "\x1b"])
def test_names_of_thousands_of_characters_are_shown_in_a_moment(piece: str) -> None:
    names = [f"{piece * 5000}{i}" for i in range(100)]
    net = Structure(tuple(linear(i, name) for i, name in enumerate(names)))
    said = finding(tuple(names[:3]))
    said = dataclasses.replace(said, message=f"{names[0]} grows.", remedy=f"Change {names[0]}.\n\nnet[{names[0]!r}]")
    out = io.StringIO()
    sink = ConsoleSink(verbose=True, console=Console(file=out, width=100))
    began = time.process_time()
    sink.open(Run(dense_steps=1))
    sink.emit(measured(net, 1.0), (said,), net)
    sink.close()
    heatmap(np.zeros((100, 2)), steps=[0, 1], names=names, title=names[0])
    Console(file=io.StringIO(), width=100).print(structure_tree(net))
    # Seconds of CPU time, on a machine that others use too; it was minutes.
    assert time.process_time() - began < 2.0
    rows = [line for line in out.getvalue().splitlines() if line.endswith("exploding !")]
    assert rows
    assert all("..." in row and cell_len(row) <= 100 for row in rows)
