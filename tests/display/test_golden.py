"""What a person reads, whole, as files to look at: ``pytest tests/display/test_golden.py --update`` writes them anew."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import along, blocks, linears, record, rectifier
from rich.console import Console

from init_monitor.records import Attention, History, LossCurve, LossStretch, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.report import Report
from init_monitor.rules import DEFAULT_RULES
from init_monitor.rules.engine import Engine
from init_monitor.sinks import ConsoleSink, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from init_monitor.records import Finding, StepRecord

GOLDEN = Path(__file__).parents[1] / "golden"
STEPS = 12

Columns = dict[Quantity, Any]


def column(variance: Any, gradient: Any = 1e-4) -> Columns:
    variance, gradient = np.asarray(variance, np.float64), np.asarray(gradient, np.float64)
    return {
        Quantity.COUNT: 1e5, Quantity.MEAN: 0.0, Quantity.VARIANCE: variance, Quantity.MEAN_SQUARE: variance,
        Quantity.ABS_MAX: 4 * np.sqrt(variance), Quantity.NONFINITE_COUNT: 0.0,
        Quantity.GRADIENT_COUNT: 1e5, Quantity.GRADIENT_MEAN: 0.0, Quantity.GRADIENT_VARIANCE: gradient,
        Quantity.GRADIENT_MEAN_SQUARE: gradient, Quantity.GRADIENT_NONFINITE_COUNT: 0.0,
        Quantity.WEIGHT_COUNT: 512 * 512, Quantity.WEIGHT_VARIANCE: 1 / 512, Quantity.WEIGHT_NORM: 22.6,
        Quantity.WEIGHT_GRADIENT_NORM: 1e-2, Quantity.UPDATE_RATIO: 1e-3, Quantity.WEIGHT_UNIT_SPREAD: 1.0,
    }  # fmt: skip


def healthy() -> tuple[Structure, Columns]:
    return linears(8), column(np.ones(8))


def exploding() -> tuple[Structure, Columns]:
    gains = 40.0 ** np.arange(1, 13)
    return linears(12), {
        **column(gains, gains[::-1]), Quantity.WEIGHT_VARIANCE: 40 / 512,
        Quantity.GAIN: 40.0, Quantity.EXPECTED_GAIN: 40.0, Quantity.BACKWARD_GAIN: 40.0, Quantity.EXPECTED_BACKWARD_GAIN: 40.0,
    }  # fmt: skip


def vanishing() -> tuple[Structure, Columns]:
    gains = 0.02 ** np.arange(1, 13)
    return linears(12), {
        **column(gains, gains[::-1] * 1e-4), Quantity.WEIGHT_VARIANCE: 0.02 / 512,
        Quantity.GAIN: 0.02, Quantity.EXPECTED_GAIN: 0.02, Quantity.BACKWARD_GAIN: 0.02, Quantity.EXPECTED_BACKWARD_GAIN: 0.02,
    }  # fmt: skip


def dead_relu() -> tuple[Structure, Columns]:
    layers = []
    for i, layer in enumerate(linears(4, activation="ReLU").layers):
        layers.append(replace(layer, depth=2 * i))
        if layer.activation:
            layers.append(replace(rectifier(2 * i + 1, f"act.{i}"), inputs=(layer.name,)))
    structure = Structure(tuple(layers))
    acts = np.array([layer.kind == "ReLU" for layer in structure.layers])
    return structure, {
        **column(np.ones(len(layers))),
        Quantity.DEAD_FRACTION: np.where(acts, [0.0, 0.55] * 3 + [0.0], np.nan),
        Quantity.ALL_POSITIVE_FRACTION: np.where(acts, 0.0, np.nan),
        Quantity.UNIT_COUNT: np.where(acts, 512, np.nan),
        Quantity.UNIT_SAMPLES: np.where(acts, 4096, np.nan),
    }


def residual_growth() -> tuple[Structure, Columns]:
    levels = 2.0 ** np.arange(25)
    structure = blocks(24)
    per_layer = [1.0, *(v for level in levels[:-1] for v in (level, level)), 1.0]
    return structure, {**column(per_layer), **along(levels, gradients=levels[::-1] * 1e-4)}


def standstill() -> tuple[Structure, Columns]:
    """Return a network whose output goes through a ReLU, called as a function, that is off."""
    layers = linears(4).layers
    off = rectifier(4, "", name="/relu#1", inputs=(layers[-1].name,))
    structure = Structure((*layers, off))
    last = np.arange(5) == 4
    return structure, {
        **column(np.where(last, 0.0, 1.0), np.where(last, 1e-4, 0.0)),
        Quantity.WEIGHT_GRADIENT_NORM: 0.0, Quantity.UPDATE_RATIO: 0.0, Quantity.TRAINABLE: 1.0,
        Quantity.DEAD_FRACTION: np.where(last, 1.0, np.nan), Quantity.ALL_POSITIVE_FRACTION: np.where(last, 0.0, np.nan),
        Quantity.UNIT_COUNT: np.where(last, 512, np.nan), Quantity.UNIT_SAMPLES: np.where(last, 4096, np.nan),
    }  # fmt: skip


def sharp_attention() -> tuple[Structure, Columns]:
    """Return two blocks whose attention lacks its scale, in the second more than in the first."""
    names = [f"blocks.{i}.{part}" for i in range(2) for part in ("attn.qkv", "attn.proj", "fc1", "fc2")]
    layers = tuple(replace(layer, name=name, module=name) for layer, name in zip(linears(8).layers, names, strict=True))
    attentions = tuple(
        Attention(
            f"blocks.{i}.attn",
            f"blocks.{i}.attn",
            2,
            64,
            "scaled_dot_product_attention",
            (f"blocks.{i}.attn.qkv",),
            scale=1.0,
        )
        for i in range(2)
    )
    return Structure(layers, attentions=attentions), {
        **column(np.ones(8)),
        Quantity.ATTENTION_LOGIT_MAX: [27.1, 31.4, 26.0, 35.2], Quantity.ATTENTION_LOGIT_RMS: [7.9, 8.1, 8.0, 8.4],
        Quantity.ATTENTION_ENTROPY: [0.14, 0.13, 0.12, 0.11], Quantity.ATTENTION_ONE_PLACE: [0.42, 0.44, 0.45, 0.51],
        Quantity.ATTENTION_FIRST: [0.02, 0.02, 0.01, 0.03], Quantity.ATTENTION_KEYS: 65.0, Quantity.ATTENTION_ROWS: 128.0,
    }  # fmt: skip


def nan_late() -> tuple[Structure, Columns]:
    return healthy()


RUNS: Mapping[str, Callable[[], tuple[Structure, Columns]]] = {
    made.__name__: made
    for made in (healthy, exploding, vanishing, dead_relu, residual_growth, sharp_attention, standstill, nan_late)
}


def told(name: str) -> tuple[str, Report]:
    """Return what the console prints of a run, and its report."""
    structure, columns = RUNS[name]()
    stands_still = name in {"vanishing", "exploding", "standstill"}
    curve = LossCurve()
    records: list[StepRecord] = []
    findings: list[Finding] = []
    engine = Engine(DEFAULT_RULES, strict=True)
    text = io.StringIO()
    sink = ConsoleSink(verbose=True, console=Console(file=text, width=100, color_system=None, force_terminal=False))
    sink.open(Run(dense_steps=10))
    for step in range(STEPS):
        loss = math.nan if name == "nan_late" and step > 8 else 2.3 if stands_still else 2.3 * 0.9**step
        losses = LossStretch.of([(step, loss)])
        curve.add(losses)
        records.append(record(structure, columns, step=step, optimizer="SGD", learning_rate=0.01, losses=losses))
        new = tuple(engine.judge(History(tuple(records), structure, losses=curve)))
        findings += new
        sink.emit(records[-1], new, structure)
    sink.close()
    report = Report.of(records, findings, structure, {}, losses=curve)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n", report


@pytest.mark.parametrize("name", RUNS)
def test_what_is_printed_and_reported_is_what_was_looked_at(name: str, request: pytest.FixtureRequest) -> None:
    console, report = told(name)
    for file, text in ((f"{name}.txt", console), (f"{name}.md", report.to_markdown())):
        if request.config.getoption("--update"):
            (GOLDEN / file).write_text(text, encoding="utf-8")
        assert text == (GOLDEN / file).read_text(encoding="utf-8"), f"tests/golden/{file} differs; look, then --update"


def test_the_runs_are_what_they_are_called() -> None:
    codes = {name: {finding.code for finding in told(name)[1].findings} for name in RUNS}
    assert codes["healthy"] == set()
    assert "IM101" in codes["exploding"]
    assert codes["vanishing"] & {"IM102", "IM502"}
    assert "IM301" in codes["dead_relu"]
    assert "IM401" in codes["residual_growth"]
    assert "IM604" in codes["standstill"]
    assert codes["nan_late"] == {"IM802"}


@pytest.mark.parametrize("name", RUNS)
def test_no_sentence_holds_a_tap_name_or_a_name_of_evidence(name: str) -> None:
    text, report = told(name)
    panels = text.partition("Signal propagation at step")[0]
    for words in (panels, report.to_markdown().partition("## Layers")[0].replace("\\", "")):
        assert not re.search(r"(?<![\w.\"'])/[a-z_]+#\d", words)
        assert not re.search(r"^[ |]+[a-z]+(_[a-z]+)+ ", words, re.MULTILINE)
        assert not re.search(r"\d ×|e\+\d|e-0\d", words)
