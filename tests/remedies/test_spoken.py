"""Findings name what they are about as a person does, wherever they are shown."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import pytest
import torch
from builders import linear, rectifier
from models import Classifier, fit, loader
from rich.console import Console
from torch import nn

from init_monitor import InitMonitor
from init_monitor.display.finding_panel import findings_panel
from init_monitor.display.markdown import finding_markdown
from init_monitor.page.report_page import findings_html
from init_monitor.page.shown_finding import shown_finding
from init_monitor.records import Figure, Finding, Severity, Structure
from init_monitor.records.evidence import TITLES, evidence_title
from init_monitor.records.quantities import Quantity
from init_monitor.remedies.spoken import spoken
from init_monitor.store import finding_json
from init_monitor.store.schema import restored

TAP_NAME = re.compile(r"/[a-z_]+#\d")
CALLED = Structure(
    (
        linear(0, "head", width=8),
        rectifier(1, "", name="/relu#1", inputs=("head",)),
        rectifier(2, "decoder", name="decoder/leaky_relu#2", kind="LeakyReLU", inputs=("/relu#1",)),
        rectifier(3, "", name="/relu#12", inputs=("/relu#1",)),
    )
)


def finding(message: str, layers: tuple[str, ...] = ("/relu#1",), **changes: object) -> Finding:
    base = Finding("dead-relu", "IM301", Severity.WARNING, layers, 0, message)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("/relu#1 is off.", "The ReLU called after `head` is off."),
        ("It is off. /relu#1 was not.", "It is off. The ReLU called after `head` was not."),
        ("Because /relu#1 (ReLU) is off.", "Because the ReLU called after `head` is off."),
        ("Take the /relu#1 away.", "Take the ReLU called after `head` away."),
        ("head and decoder/leaky_relu#2.", "head and the 2nd LeakyReLU called in `decoder`."),
        # What an activation follows that has no name either is told by its number.
        ("(/relu#12)", "(the 12th ReLU called in the model)"),
        ("Var(branch)/Var(skip), NaN/inf, other/relu#1", "Var(branch)/Var(skip), NaN/inf, other/relu#1"),
    ],
)
def test_a_sentence_names_a_function_by_where_it_is_called(written: str, read: str) -> None:
    assert spoken(finding(written), CALLED).message == read


def test_the_remedy_is_put_into_words_and_its_code_is_not() -> None:
    given = finding(
        "…",
        ("head", "decoder/leaky_relu#2"),
        remedy="Look at /relu#1.\n\nprint('/relu#1')",
        evidence={"variance": Figure(0.0, "of /relu#1")},
    )
    said = spoken(given, CALLED)
    assert said.remedy == "Look at the ReLU called after `head`.\n\nprint('/relu#1')"
    assert said.evidence["variance"].unit == "of the ReLU called after `head`"
    assert (said.layers, said.places) == (given.layers, ("head", "the 2nd LeakyReLU called in `decoder`"))
    assert spoken(given, Structure(CALLED.layers[:1])) is given
    assert finding("…").shown_layers == ("/relu#1",)


def test_what_is_stored_is_read_with_the_words() -> None:
    said = spoken(finding("/relu#1 is off."), CALLED)
    assert restored(Finding, finding_json(said)) == said
    older = {key: value for key, value in finding_json(said).items() if key != "places"}
    assert restored(Finding, older).shown_layers == ("/relu#1",)


class Pooled(nn.Module):
    """A softmax over a dimension of one element, called as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.score, self.head = nn.Linear(8, 16), nn.Linear(8, 1), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = (torch.softmax(self.score(x), -1) * self.features(x)).sum(1)
        out: torch.Tensor = self.head(pooled)
        return out


def test_no_tap_name_of_a_function_is_shown_of_a_real_training(tmp_path: Path) -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(Pooled(), optimizer="Adam", lr=1e-3), loader(12, 8), monitor, steps=12)
    (found,) = (f for f in monitor.findings if f.code == "IM503")
    assert found.layers == ("net.score", "net/softmax#1")
    name = "the Softmax called in `net`"
    text = io.StringIO()
    Console(file=text, width=200).print(findings_panel(found))
    shown = shown_finding(found)
    words = (
        text.getvalue(),
        finding_markdown(found),
        findings_html("", [found]),
        str(shown["places"]),
        shown["message"],
    )
    for one in words:
        assert name in one.replace("\\", "").replace("The Softmax", "the Softmax")
        assert not TAP_NAME.search(one)


def test_every_name_of_evidence_has_words() -> None:
    source = Path(__file__).parents[2] / "init_monitor"
    names = {
        name
        for folder in ("rules", "remedies")
        for path in sorted((source / folder).glob("*.py"))
        for name in re.findall(r'"([a-z0-9_]+)"(?:\]\s*=|:)\s*Figure\(', path.read_text(encoding="utf-8"))
    }
    assert {"dead_fraction", "growth_per_layer", "worst_gain", "input_std", "records"} <= names
    assert not {name for name in names if "_" in evidence_title(name)}
    assert not set(TITLES) - names - set(map(str, Quantity))  # none is left over from a rule of old
    assert evidence_title("dead_fraction") == "dead units"


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (Figure(4.472e8, "×"), "4.47e8×"),
        (Figure(512.0, "× per layer"), "512× per layer"),
        (Figure(65504.0), "65,500"),
        (
            Figure(12345.0, ", the first step whose loss is not finite"),
            "12,345, the first step whose loss is not finite",
        ),
        (Figure(0.0317, "‖Δw‖/‖w‖ per step"), "0.0317 ‖Δw‖/‖w‖ per step"),
        (Figure(float("inf"), "none"), "none"),
        (Figure(float("nan"), "steps"), "nan steps"),
        (Figure(999999.0), "1e6"),
        (Figure(-0.5), "-0.5"),
    ],
)
def test_a_figure_is_written_as_sentences_write_it(figure: Figure, text: str) -> None:
    assert str(figure) == text
