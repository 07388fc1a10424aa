"""The report of a run in every form that a person or a program reads."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import linear, record, rectifier
from hypothesis import given, strategies as st
from models import mlp
from rich.console import Console
from torch import nn

import init_monitor
from init_monitor import Figure, Finding, Report, Severity, StepRecord, Structure
from init_monitor.records import LossCurve, LossStretch
from init_monitor.records.quantities import LAYER_QUANTITIES, PARAMETER_QUANTITIES, SCHEMA_VERSION, Quantity
from init_monitor.store.lines import finding_from, structure_from

EVIL = "net.<script>alert(1)</script>|`x`"
"""What a layer may be called: ModuleDict takes almost any key."""

NET = Structure((linear(0, "net.0", activation="ReLU"), rectifier(1, "net.1"), linear(2, EVIL)))


def measured(step: int = 0, more: dict[Quantity, Any] | None = None) -> StepRecord:
    columns: dict[Quantity, Any] = {
        Quantity.COUNT: 4096.0,
        Quantity.MEAN: 0.5,
        Quantity.VARIANCE: [1.0, 4.0, 1e-12],
        Quantity.ABS_MAX: 3.25,
        Quantity.NONFINITE_COUNT: 0.0,
        Quantity.GRADIENT_COUNT: [4096.0, 4096.0, math.nan],
        Quantity.GRADIENT_VARIANCE: [1e-6, 1e-6, math.nan],
        Quantity.UNIT_COUNT: [math.nan, 8.0, math.nan],
        Quantity.UNIT_SAMPLES: [math.nan, 4096.0, math.nan],
        Quantity.DEAD_FRACTION: [math.nan, 0.125, math.nan],
        Quantity.WEIGHT_NORM: 1.5,
    }
    return record(NET, {**columns, **(more or {})}, step=step)


def finding(**changes: Any) -> Finding:
    made = Finding(
        rule="vanishing-activations",
        code="IM102",
        severity=Severity.CRITICAL,
        layers=(EVIL,),
        step=0,
        message="The variance of <net> & its gradient fall 10³ × per layer.",
        evidence={"fall": Figure(1e-3, "× per layer")},
        expected={"fall": Figure(1.0, "× per layer")},
        remedy="Initialise with He.\n\nif 1 < 2:\n    nn.init.kaiming_normal_(model[0].weight)",
        source="He et al. 2015, Eq. 10",
    )
    return dataclasses.replace(made, **changes)


def report(**changes: Any) -> Report:
    settings = {"dense_steps": 10, "include": None}
    made = Report.of(
        [measured(0), measured(50)], [finding(), finding(code="IM202", severity=Severity.WARNING)], NET, settings
    )
    return dataclasses.replace(made, **changes)


# --- verdict ---------------------------------------------------------------------------------------------------------

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL


@pytest.mark.parametrize(
    ("steps", "severities", "verdict"),
    [
        (0, [], "Nothing was measured yet."),
        (1, [], "No finding in 1 sampled step of 3 layers; the loss is not known."),
        (2, [], "No finding in 2 sampled steps of 3 layers; the loss is not known."),
        (1, [WARNING], "1 warning finding in 1 sampled step."),
        (3, [INFO, CRITICAL, WARNING, CRITICAL], "2 critical and 1 warning and 1 info findings in 3 sampled steps."),
    ],
)
def test_the_verdict_is_one_sentence(steps: int, severities: list[Severity], verdict: str) -> None:
    made = Report.of([measured(i) for i in range(steps)], [finding(severity=s) for s in severities], NET, {})
    assert made.verdict == verdict


# --- Markdown --------------------------------------------------------------------------------------------------------


def test_markdown_has_the_verdict_each_finding_with_code_and_a_row_per_layer() -> None:
    text = report().to_markdown()
    lines = text.splitlines()
    assert lines[0] == "# Signal propagation"
    assert lines[2] == "1 critical and 1 warning findings in 2 sampled steps."
    assert [line for line in lines if line.startswith("## ")] == [
        "## IM102 vanishing-activations (critical, step 0)",
        "## IM202 vanishing-activations (warning, step 0)",
        "## Layers at step 50",
    ]
    assert "```python\nif 1 < 2:\n    nn.init.kaiming_normal_(model[0].weight)\n```" in text
    assert "| fall | 0.001× per layer | 1× per layer |" in text
    table = lines[lines.index("## Layers at step 50") + 2 :]
    # A cell ends at a bar that is not escaped: every row has as many cells as the header.
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in table]
    assert cells == [9] * (2 + 3)
    assert table[2] == "| net.0 | Linear | 0.5 | 1 | 3.25 | 0.001 | n/a | healthy |"
    assert table[3] == "| net.1 | ReLU | 0.5 | 2 | 3.25 | 0.001 | 12.5 | healthy |"
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert text.endswith("\n")


def test_a_finding_about_the_whole_network_lists_no_layers() -> None:
    about_all, about_one = report(findings=(finding(layers=()),)), report(findings=(finding(),))
    for form in (Report.to_markdown, Report.to_html, Report._repr_html_):
        assert "Layers: " in form(about_one)
        assert "Layers:" not in form(about_all)
    assert "(0 layers)" not in str(about_all)


def test_markdown_of_nothing_says_so() -> None:
    assert Report().to_markdown() == "# Signal propagation\n\nNothing was measured yet.\n\n"


def test_a_layer_that_was_not_measured_or_holds_nan_is_never_called_healthy() -> None:
    spoiled = measured(0, {
        Quantity.VARIANCE: [math.nan, 1.0, 1.0],
        Quantity.NONFINITE_COUNT: [0.0, 3.0, 0.0],
        Quantity.UNIT_SAMPLES: [math.nan, 32.0, math.nan],
    })  # fmt: skip
    rows = report(records=(spoiled,), findings=()).to_markdown().splitlines()[-3:]
    assert rows[0].endswith("| not measured |")
    assert rows[1].endswith("| ≤12.5 | non-finite |")
    assert rows[2].endswith("| none | n/a | healthy |")


# --- HTML ------------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects tags, attributes and text; fails on a tag that is closed but not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_html_is_one_page_that_loads_nothing(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    text = report().to_html(path)
    assert path.read_text(encoding="utf-8") == text
    page = Page(text)
    assert not {"link", "img", "iframe", "object", "base"} & set(page.tags)
    drawing = {"d", "viewbox", "preserveaspectratio", "role", "aria-label"}
    assert {name for name, _ in page.attributes} - drawing == {"lang", "charset", "class", "id", "type"}
    # What drawings are called in the language of browsers, no address that anybody asks.
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "src=" not in text
    assert "url(" not in text
    assert "@import" not in text


def test_html_shows_names_messages_and_code_as_they_are() -> None:
    words = Page(report().to_html(None)).words
    assert EVIL in words
    assert "The variance of <net> & its gradient fall 10³ × per layer." in words
    assert "if 1 < 2:\n    nn.init.kaiming_normal_(model[0].weight)" in words
    assert "fall: 0.001× per layer (expected 1× per layer)" in words
    assert "Source" not in words
    assert words.count("vanishing (at fault)") == 1


def test_the_page_says_what_was_run_when_and_by_which_programs() -> None:
    losses = LossCurve()
    losses.add(LossStretch.of([(0, 2.0), (1, 1.0), (2, math.nan), (3, 0.5)]))
    made = dataclasses.replace(report(), versions={"torch": "2.13", "lightning": ""}, losses=losses)
    text = made.to_html(name="lab/run 3")
    words = Page(text).words
    assert "lab/run 3" in words
    assert "1970-01-01 00:00 UTC" in "".join(words)
    assert "2 measured steps up to step 50, 3 layers" in words
    assert "torch 2.13" in words
    assert '<path d="M0.0,0.0 L333.3,66.7 L1000.0,100.0"/>' in text
    assert "The code given for IM102 mends this too." in words
    assert text.count("kaiming_normal_(model[0].weight)</pre>") == 1


def test_a_notebook_shows_the_body_of_the_page() -> None:
    made = report()
    page, body = made.to_html(), made._repr_html_()
    findings, tables = body.removeprefix("<h1>Signal propagation</h1>").split("<h2>Layers at step", 1)
    assert findings in page
    assert f"<h2>Layers at step{tables}" in page
    assert "table" in Page(made._repr_html_()).tags
    assert Page(Report().to_html()).words[-2:] == ["Nothing was measured yet.", "\n"]


# --- JSON ------------------------------------------------------------------------------------------------------------


def strict(text: str) -> Any:
    def refuse(token: str) -> None:
        message = f"{token} is not strict JSON"
        raise AssertionError(message)

    return json.loads(text, parse_constant=refuse)


def number(value: Any) -> float:
    return float(value)


def test_json_is_strict_and_holds_everything(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    made = report()
    content = strict(made.to_json(path))
    assert strict(path.read_text(encoding="utf-8")) == content
    assert content["schema"] == SCHEMA_VERSION
    assert content["verdict"] == made.verdict
    assert content["settings"] == {"dense_steps": 10, "include": None}
    assert structure_from(content["structure"]) == NET
    assert [finding_from(one) for one in content["findings"]] == list(made.findings)
    layers, parameters = content["layers"], content["parameters"]
    assert layers["columns"] == ["step", "layer", *(q.value for q in LAYER_QUANTITIES)]
    assert parameters["columns"] == ["step", "parameter", *(q.value for q in PARAMETER_QUANTITIES)]
    assert [row[:2] for row in layers["rows"]] == [[step, name] for step in (0, 50) for name in NET.names]
    assert [row[:2] for row in parameters["rows"]] == [
        [step, f"{name}.weight"] for step in (0, 50) for name in ("net.0", EVIL)
    ]
    assert {row[parameters["columns"].index("weight_norm")] for row in parameters["rows"]} == {1.5}


def test_the_guide_lists_every_field_of_the_json() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "storage.md").read_text(encoding="utf-8")
    section = guide.partition("## The report as JSON")[2].partition("\n## ")[0]
    content = strict(report().to_json())
    assert re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE) == list(content)
    assert f"| `schema` | {SCHEMA_VERSION};" in section
    (row,) = re.findall(r"^\| `findings` \| (.*)$", section, flags=re.MULTILINE)
    assert set(content["findings"][0]) <= set(re.findall(r"`(\w+)`", row))


@given(st.lists(st.floats(width=32), min_size=3, max_size=3))
def test_every_float32_comes_back_from_json(values: list[float]) -> None:
    made = Report.of([measured(0, {Quantity.MEAN: values})], [], NET, {})
    table = strict(made.to_json())["layers"]
    read = [number(row[table["columns"].index("mean")]) for row in table["rows"]]
    np.testing.assert_array_equal(np.array(read, np.float32), np.array(values, np.float32))


# --- DataFrame -------------------------------------------------------------------------------------------------------


def test_a_dataframe_has_a_row_per_step_and_layer() -> None:
    frame = report().to_dataframe()
    assert list(frame.columns) == ["step", "layer", *(q.value for q in LAYER_QUANTITIES)]
    assert frame[["step", "layer"]].to_numpy().tolist() == [[step, name] for step in (0, 50) for name in NET.names]
    assert frame["variance"].tolist() == [1.0, 4.0, 1e-12] * 2
    assert frame["gradient_variance"].isna().tolist() == [False, False, True] * 2
    assert len(Report().to_dataframe()) == 0


def test_without_pandas_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"Report.to_dataframe\(\) needs pandas: pip install pandas"):
        report().to_dataframe()


# --- console ---------------------------------------------------------------------------------------------------------


def printed(made: Report, width: int, encoding: str) -> list[str]:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=out, width=width, color_system=None, highlight=False).print(made)
    out.seek(0)
    return [line.rstrip() for line in out.read().splitlines()]


def test_printed_it_is_the_table_a_panel_per_finding_and_the_verdict() -> None:
    lines = printed(report(), 100, "utf-8")
    assert lines[0] == "Signal propagation at step 50: 3 layers"
    assert sum("IM102 vanishing-activations" in line for line in lines) == 1
    assert sum("IM202 vanishing-activations" in line for line in lines) == 1
    assert lines[-1] == "1 critical and 1 warning findings in 2 sampled steps."
    assert any("│" in line for line in lines)
    assert any("10³ × per layer" in line for line in lines)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_without_unicode_gets_ascii_drawings_and_spelled_signs(encoding: str) -> None:
    lines = printed(report(), 100, encoding)
    assert all(not set("│█▐▌─…") & set(line) for line in lines)
    rows = [line for line in lines if line.startswith("net.")]
    assert any("|#" in row for row in rows)
    assert all("?" not in row for row in rows)
    sign = "x" if encoding == "ascii" else "×"
    assert any(f"0.001{sign} per layer" in line for line in lines)


@pytest.mark.parametrize("width", [60, 72])
def test_a_narrow_terminal_loses_columns_but_no_digit(width: int) -> None:
    lines = printed(report(findings=()), width, "utf-8")
    assert all(len(line) <= width for line in lines)
    (row,) = (line.split() for line in lines if " ReLU" in line)
    (wide,) = (line.split() for line in printed(report(findings=()), 100, "utf-8") if " ReLU" in line)
    assert row[-1] == "healthy"
    assert row[1] == wide[1] == "ReLU"
    assert set(row[2:]) <= set(wide[2:])
    assert (len(row) < len(wide)) is (width == 60)


def test_as_text_it_is_plain_and_a_hundred_columns_wide() -> None:
    text = str(report())
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 100
    assert text.splitlines()[-1] == report().verdict
    assert str(Report()) == "Nothing was measured yet.\n"


def test_residual_additions_are_in_every_form_too() -> None:
    torch.manual_seed(0)
    made = init_monitor.check(Residual(), torch.randn(64, 8), strict=True)
    assert [one.name for one in made.structure.residuals] == ["#1"]
    expected = made.records[0].column(Quantity.RESIDUAL_GROWTH)[0]
    assert expected > 1
    table = strict(made.to_json())["residuals"]
    assert table["rows"][0][:2] == [0, "#1"]
    assert table["rows"][0][table["columns"].index("residual_growth")] == pytest.approx(expected)
    frame = made.to_residual_dataframe()
    assert frame["residual"].tolist() == ["#1"]
    assert frame["residual_growth"].tolist() == [expected]
    for form in (made.to_markdown(), made.to_html(), str(made)):
        assert "esidual" in form
    assert "## Residual additions at step 0" in made.to_markdown()
    assert Page(made._repr_html_()).tags.count("table") == 2


class Residual(nn.Module):
    """One residual addition."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.head = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.head(x + self.fc(x).relu())
        return output


# --- a real run ------------------------------------------------------------------------------------------------------


def test_every_form_of_a_real_report_agrees() -> None:
    torch.manual_seed(0)
    made = init_monitor.check(mlp(12, 64, nn.init.normal_), torch.randn(64, 64))
    assert made.findings
    frame, table = made.to_dataframe(), strict(made.to_json())["layers"]
    assert frame["variance"].to_numpy() == pytest.approx([number(row[4]) for row in table["rows"]], rel=1e-8)
    assert table["columns"][4] == "variance"
    for code in {one.code for one in made.findings}:
        assert all(code in form for form in (made.to_markdown(), made.to_html(), made.to_json(), str(made)))
    assert "exploding |" in made.to_markdown()
