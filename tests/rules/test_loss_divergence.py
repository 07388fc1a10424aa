"""IM802: a loss that is not finite any more, or rises for good."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from builders import linears, only, record
from models import Classifier, fit, loader, mlp

from init_monitor import InitMonitor, Severity
from init_monitor.records import Finding, History, LossCurve, LossStretch, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import LossDivergence, NonFinite

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.untraced

NET = linears(3)
NOISE = 0.05 * np.random.default_rng(0).normal(size=400)
NAN, CRITICAL, WARNING = math.nan, Severity.CRITICAL, Severity.WARNING


def judge(values: Any, *, columns: dict[Quantity, Any] | None = None, **fields: Any) -> list[Finding]:
    curve = LossCurve()
    curve.add(LossStretch.of(enumerate(np.asarray(values, np.float64).tolist())))
    given = record(NET, columns or {Quantity.VARIANCE: 1.0}, step=max(0, len(values) - 1), **fields)
    return list(LossDivergence().judge(History([given], NET, losses=curve)))


def test_a_loss_that_is_nan_is_critical_and_the_first_such_step_is_named() -> None:
    finding = only(judge([*(1 + NOISE[:60]), NAN, NAN, NAN]))
    assert (finding.code, finding.rule, finding.severity) == ("IM802", "loss-divergence", CRITICAL)
    assert "not finite since step 60 (NaN)" in finding.message
    assert "the batch of step 60" in finding.message
    assert "divides by" in finding.remedy
    assert float(finding.evidence["first_step"]) == 60


def test_a_loss_that_rose_before_has_a_rate_that_is_too_large() -> None:
    finding = only(judge([*(1 + NOISE[:60]), 8.0, 300.0, 1e7, math.inf, NAN]))
    assert "(infinite)" in finding.message
    assert "It rose before, to 1e7: the steps were too large." in finding.message
    assert finding.remedy.startswith("Lower the learning rate")


def test_a_run_that_was_never_finite_has_no_step_before() -> None:
    finding = only(judge([NAN, NAN]))
    assert "No loss was finite before." in finding.message


def test_weights_that_are_broken_at_the_step_after_are_named() -> None:
    columns = {Quantity.VARIANCE: 1.0, Quantity.WEIGHT_NONFINITE_COUNT: [0.0, 5.0, 0.0]}
    assert "At step 61 net.1.weight holds NaN" in only(judge([*(1 + NOISE[:60]), NAN, NAN], columns=columns)).message


def test_single_losses_that_are_not_finite_and_steps_that_a_scaler_skips_are_no_fault() -> None:
    assert judge([*(1 + NOISE[:60]), NAN, *(1 + NOISE[60:100])]) == []
    assert judge([*(1 + NOISE[:60]), math.inf], loss_scaled=True) == []
    assert only(judge([*(1 + NOISE[:60]), NAN, NAN], loss_scaled=True)).severity is CRITICAL


@pytest.mark.parametrize(("factor", "severity"), [(6.0, WARNING), (500.0, CRITICAL)])
def test_a_loss_that_rises_and_stays_there_is_told_by_how_much(factor: float, severity: Severity) -> None:
    rising = np.concatenate([np.ones(40), np.linspace(1, factor, 40), np.full(40, factor)]) + NOISE[:120]
    finding = only(judge(rising, learning_rate=0.3))
    assert finding.severity is severity
    assert "never below" in finding.message
    assert "it is 0.3 now" in finding.remedy


def test_spikes_plateaus_curricula_and_games_are_left_alone() -> None:
    spike = np.ones(120)
    spike[50:60] = 50
    assert judge(spike + NOISE[:120]) == []
    assert judge(np.linspace(1, 3, 120)) == [], "a term that fades in"
    assert judge(np.concatenate([np.ones(3), 30 * np.exp(-np.arange(100) / 30)])) == [], "it comes back"
    assert judge(-1 - np.linspace(0, 50, 120)) == []
    assert judge(np.linspace(1, 50, 120), loss_by_optimizer={"Adam": 1.0, "Adam#2": 2.0}) == []


def test_a_classifier_that_becomes_worse_than_guessing_is_a_warning() -> None:
    guess = math.log(512)  # outputs of the last layer
    worse = guess * np.linspace(1, 1.3, 120) + NOISE[:120]
    finding = only(judge(worse))
    assert finding.severity is WARNING
    assert "worse than guessing" in finding.message
    assert "zero the gradients" in finding.remedy
    assert judge(worse[:80]) == []
    assert judge(guess * np.linspace(1, 1.05, 120) + NOISE[:120]) == []
    assert judge(2 + np.linspace(0, 2, 120)) == [], "which did not begin there"
    assert judge(worse, loss_by_optimizer={"Adam": 1.0, "Adam#2": 2.0}) == []


class Turning(Classifier):
    """Its loss is 0/0 from a step on: no labelled place in the batch."""

    turns = 60

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_idx)
        labelled = torch.tensor(0.0 if self.global_step == self.turns else 1.0)
        return loss * labelled / labelled


def run(turns: int, steps: int = 96, **options: Any) -> InitMonitor:
    torch.manual_seed(0)
    module = Turning(mlp(2, 16), lr=0.05)
    module.turns = turns
    monitor = InitMonitor(**{"sinks": (), "strict": True, **options})
    fit(module, loader(16), monitor, steps=steps, max_epochs=-1)
    return monitor


@pytest.mark.parametrize("turns", [60, 94, 95])
def test_a_run_whose_loss_is_nan_between_two_samples_ends_critical(turns: int) -> None:
    monitor = run(turns)
    worst = [finding for finding in monitor.findings if finding.severity is CRITICAL]
    assert len(worst) == 1
    assert worst[0].code in {"IM601", "IM802"}
    assert f"step {turns}" in worst[0].message
    assert any(word in worst[0].remedy for word in ("divides by", "logarithm"))
    assert "ealthy" not in monitor.report.verdict


def test_its_closing_line_is_not_healthy(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    run(95, sinks=None)
    shown = capsys.readouterr().out
    assert "healthy so far" not in shown
    assert "IM802" in shown
    assert "1 critical finding" in shown.splitlines()[-1]


def test_a_run_without_any_rule_is_not_healthy_either(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monitor = run(60, sinks=None, rules=())
    assert "the loss is not finite since step 60" in capsys.readouterr().out.splitlines()[-1]
    assert "the loss is not finite" in monitor.report.verdict
    assert "step 60" in monitor.report.verdict


def test_a_run_that_guesses_again_after_it_had_learned_is_told_with_the_step() -> None:
    ten = Structure((*linears(2, width=64).layers, linears(3, width=10).layers[2]))

    def said(values: Any) -> list[Finding]:
        curve = LossCurve()
        curve.add(LossStretch.of(enumerate(np.asarray(values, np.float64).tolist())))
        given = record(ten, {Quantity.VARIANCE: 1.0}, step=len(values) - 1)
        return list(LossDivergence().judge(History([given], ten, losses=curve)))

    learns = np.linspace(2.3, 1.0, 100) + NOISE[:100]
    lost = [*learns, *(2.31 + 0.2 * NOISE[:60])]
    finding = only(said(lost))
    assert finding.severity is WARNING
    assert "the loss had fallen to 1.1" in finding.message
    assert "since step 100 it is that of guessing (2.31)" in finding.message
    assert not said(lost[:115]), "a spike may fall again"
    assert not said([*learns, *(1.6 + NOISE[:60])]), "it is still better than guessing"
    assert not said([2.3] * 160)


def test_a_gradient_that_broke_the_weights_at_a_finite_loss_names_the_batch_of_its_step() -> None:
    class Root(Classifier):
        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
            loss = super().training_step(batch, batch_idx)
            nothing = sum((p * 0).sum() for p in self.parameters())
            return loss + torch.sqrt(nothing) if self.global_step == 60 else loss  # type: ignore[arg-type]

    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), rules=(NonFinite(), LossDivergence()))
    fit(Root(mlp(2, 16)), loader(16), monitor, steps=80, max_epochs=-1)
    losses = monitor.losses
    assert math.isfinite(losses[60])
    assert math.isnan(losses[61])
    finding = monitor.findings[0]
    assert "or the gradient of step 60 was not finite already" in finding.message
    assert "Look at the batches of steps 60 and 61" in finding.remedy


def test_weights_that_are_broken_at_the_first_bad_loss_were_broken_by_the_step_before() -> None:
    columns = {Quantity.VARIANCE: 1.0, Quantity.WEIGHT_NONFINITE_COUNT: [0.0, 5.0, 0.0]}
    curve = LossCurve()
    curve.add(LossStretch.of(enumerate([*(1 + NOISE[:60]).tolist(), NAN])))
    finding = only(NonFinite().judge(History([record(NET, columns, step=60)], NET, losses=curve)))
    assert "The loss of step 59 was finite" in finding.message
    assert "Look at the batch of step 59" in finding.remedy


@pytest.mark.parametrize("seed", range(20))
def test_rare_batches_that_cost_much_are_no_rise(seed: int) -> None:
    """Half of the batches hold a rare target and cost 12; the others next to nothing as long as nothing is answered, and 1 later."""
    random = np.random.default_rng(seed)
    rare = random.random(160) < 0.5
    rare[random.integers(0, 5)] = True
    values = np.where(rare, 12.0, np.where(np.arange(160) < 15, 0.05, 1.0)) * (1 + 0.1 * random.random(160))
    for count in (60, 80, 100, 120, 140, 160):
        assert judge(values[:count]) == []
    risen = [*(0.05 * (1 + 0.1 * random.random(60))), *(12 * (1 + 0.1 * random.random(60)))]
    assert only(judge(risen)).severity is CRITICAL
