"""A finding about a start that the run has left behind is taken back to information, wherever findings are kept."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from builders import linears, record
from models import Classifier, loader, mlp
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from init_monitor import InitMonitor
from init_monitor.records import TAKEN_BACK, Figure, Finding, History, LossCurve, LossStretch, Severity, settled
from init_monitor.records.quantities import Quantity
from init_monitor.rules import Saturation
from init_monitor.rules.engine import Engine
from init_monitor.sinks import ConsoleSink
from init_monitor.sinks.sink import Run

if TYPE_CHECKING:
    from pathlib import Path

    from init_monitor.rules.rule import Rule

NET = linears(3, width=10)
WARNING, INFO = Severity.WARNING, Severity.INFO


class Starts:
    """Complains of the start at every step; with ``late`` of what training made."""

    code, name = "X303", "starts-badly"

    def __init__(self, *, late: bool = False) -> None:
        self.late = late

    def judge(self, history: History) -> list[Finding]:
        return [
            Finding(
                self.name, self.code, WARNING, ("net.0",), history.last.step, "It starts badly.", remedy="Begin anew."
            )
        ]

    def is_about_start(self, finding: Finding) -> bool:
        assert finding.code == self.code
        return not self.late


def told(losses: Any, *, rule: Rule | None = None) -> list[Finding]:
    """Return what an engine says at the first step, after half of the losses and after all of them."""
    engine, found = Engine([rule or Starts()], strict=True), []
    values = np.asarray(losses, np.float64).tolist()
    for count in (1, len(values) // 2, len(values)):
        curve = LossCurve()
        curve.add(LossStretch.of(enumerate(values[:count])))
        given = record(NET, {Quantity.VARIANCE: 1.0}, step=count - 1)
        found += engine.judge(History([given], NET, losses=curve))
    return found


FALLING = 2.3 * np.exp(-np.arange(200) / 40)


def test_it_is_told_at_once_and_taken_back_once_the_run_learns_well() -> None:
    loud, back = told(FALLING)
    assert (loud.severity, loud.takes_back) == (WARNING, False)
    assert (back.severity, back.takes_back, float(back.evidence[TAKEN_BACK])) == (INFO, True, 0.0)
    assert "the loss has fallen from 2" in back.message
    assert settled([loud, back]) == [back]


@pytest.mark.parametrize(
    "losses",
    [2.3 + 0 * FALLING, 24 * np.exp(-np.arange(200) / 40) + 2.3, [math.nan] * 200, 2.3 - 0.002 * np.arange(200), []],
    ids=["level", "to guessing", "nan", "slowly", "unknown"],
)
def test_it_stays_where_the_run_is_not_seen_to_learn_well(losses: Any) -> None:
    assert [finding.severity for finding in told(losses if len(losses) else [math.nan] * 3)] == [WARNING]


def test_what_training_made_stays() -> None:
    assert [finding.severity for finding in told(FALLING, rule=Starts(late=True))] == [WARNING]


def test_saturation_knows_which_of_its_findings_are_about_the_start() -> None:
    rule = Saturation()
    start, late = (
        Finding(rule.name, rule.code, WARNING, ("net.0",), 0, "", evidence)
        for evidence in ({}, {"records": Figure(3, "sampled steps in a row")})
    )
    assert rule.is_about_start(start)
    assert not rule.is_about_start(late)


def test_the_console_says_so_in_one_line_at_the_end() -> None:
    printed: list[str] = []
    sink = ConsoleSink(verbose=True)
    sink.open(Run(dense_steps=10, write=printed.append))
    loud, back = told(FALLING)
    for finding in (loud, back):
        given = record(NET, {Quantity.VARIANCE: 1.0}, step=finding.step)
        sink.emit(given, (finding,), NET)
    sink.close()
    assert sum("starts-badly" in text for text in printed) == 2, "the panel, and the line at the end"
    assert printed[-2] == "Taken back: X303 starts-badly of step 0: the loss has left that behind."
    assert "1 note in" in printed[-1]


def test_a_resumed_training_takes_back_what_was_told_before(tmp_path: Path) -> None:
    """The first part ends before anything is learned; the second one learns."""

    def part(monitor: InitMonitor, steps: int, checkpoint: Path | None) -> None:
        torch.manual_seed(0)
        module = Classifier(mlp(1, 32), lr=1e-2, optimizer="Adam")
        trainer = pl.Trainer(
            max_steps=steps,
            callbacks=[monitor],
            logger=False,
            accelerator="cpu",
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        data = loader(32, samples=128, batch=32)
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=checkpoint is not None)
        trainer.save_checkpoint(tmp_path / "part.ckpt")

    first, second = (InitMonitor(rules=(Starts(),), sinks=(), strict=True, every_n_steps=10) for _ in range(2))
    part(first, 4, None)
    assert [finding.severity for finding in first.findings] == [WARNING]
    part(second, 120, tmp_path / "part.ckpt")
    (back,) = second.findings
    assert (back.severity, back.takes_back, float(back.evidence[TAKEN_BACK])) == (INFO, True, 0.0)
    assert second.loss_steps.tolist() == list(range(120))


class Saturated(Classifier):
    """Three saturated layers, whose scale or whose last layer decides how much they learn, behind a head that learns a lot."""

    def __init__(self, scale: float) -> None:
        torch.manual_seed(0)
        first, second = nn.Linear(8, 64), nn.Linear(64, 64)
        super().__init__(nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), nn.Linear(64, 2)))
        with torch.no_grad():
            first.weight.mul_(scale)
            second.weight.abs_().mul_(scale)
            second.bias.fill_(scale)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


@pytest.mark.parametrize(("scale", "stays"), [(1000.0, True), (4.0, False)])
def test_units_that_let_nothing_pass_are_not_excused_by_what_the_last_layer_learns(
    scale: float, *, stays: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(512, 8, generator=generator)
    data = TensorDataset(x, (x[:, 0] > 0).long())
    monitor = InitMonitor(sinks=(), strict=True)
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=150, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[monitor],
    )  # fmt: skip
    trainer.fit(Saturated(scale), DataLoader(data, batch_size=64))
    found = [one for one in settled(monitor.findings) if one.code == "IM303"]
    assert found
    assert (found[-1].severity is not INFO) is stays
