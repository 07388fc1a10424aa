"""IM801: a loss that does not leave its level is information, and no more."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from builders import history, linears, only, record
from models import Classifier, fit, loader, mlp

from init_monitor import InitMonitor, Severity
from init_monitor.records import Finding, History, LossCurve, LossStretch
from init_monitor.records.quantities import Quantity
from init_monitor.rules import LossPlateau
from init_monitor.rules.engine import Engine

NET = linears(3, width=10)
NOISE = 0.01 * np.random.default_rng(0).normal(size=400)


def past(values: Any, **fields: Any) -> History:
    curve = LossCurve()
    curve.add(LossStretch.of(enumerate(np.asarray(values, np.float64).tolist())))
    return History([record(NET, {Quantity.VARIANCE: 1.0}, step=len(values) - 1, **fields)], NET, losses=curve)


def judge(values: Any, **fields: Any) -> list[Finding]:
    return list(LossPlateau().judge(past(values, **fields)))


def test_a_level_loss_is_information_with_what_guessing_costs() -> None:
    finding = only(judge(math.log(10) + NOISE))
    assert (finding.code, finding.rule, finding.severity) == ("IM801", "loss-plateau", Severity.INFO)
    assert "The loss has not left its level in 400 steps: 2.3" in finding.message
    assert "That is what guessing costs." in finding.message
    assert "one batch" in finding.remedy
    assert "guessing" not in only(judge(1.0 + NOISE)).message


def test_a_loss_that_falls_rises_or_is_short_is_none() -> None:
    assert judge(2.3 * np.exp(-np.arange(400) / 60) + NOISE) == []
    assert judge(1.0 + NOISE[:149]) == []
    assert judge(np.linspace(1, 5, 400) + NOISE) == [], "IM802 tells that"
    assert judge([]) == []


def test_players_against_each_other_are_left_alone() -> None:
    assert judge(1.0 + NOISE, loss_by_optimizer={"Adam": 0.7, "Adam#2": 0.3}) == []
    assert judge(1.0 + NOISE, optimizer="Adam, SGD") == []


class Says:
    code, name = "IM202", "vanishing-gradients"

    def __init__(self, severity: Severity) -> None:
        self.severity = severity

    def judge(self, history: History) -> list[Finding]:
        return [Finding(self.name, self.code, self.severity, ("net.0",), history.last.step, "It fades.")]


def test_it_is_silent_where_something_else_is_wrong_and_speaks_beside_information() -> None:
    level = past(1.0 + NOISE)
    for severity, codes in ((Severity.WARNING, ["IM202"]), (Severity.INFO, ["IM202", "IM801"])):
        assert [one.code for one in Engine([Says(severity), LossPlateau()], strict=True).judge(level)] == codes


def test_labels_that_were_shuffled_are_information_and_labels_that_mean_something_nothing() -> None:
    def loud(shuffled: bool) -> list[str]:  # noqa: FBT001
        torch.manual_seed(0)
        data = loader(16, samples=8192, batch=64)
        if not shuffled:
            x, y = data.dataset.tensors  # type: ignore[attr-defined]
            y.copy_(x[:, :10].argmax(1))
        monitor = InitMonitor(sinks=(), strict=True)
        fit(Classifier(mlp(2, 16), optimizer="SGD", lr=0.05), data, monitor, steps=220, max_epochs=-1)
        assert all(finding.severity is Severity.INFO for finding in monitor.findings)
        return [finding.code for finding in monitor.findings]

    assert "IM801" in loud(shuffled=True)
    assert "IM801" not in loud(shuffled=False)


def test_a_history_without_losses_says_nothing() -> None:
    assert list(LossPlateau().judge(history(NET, {Quantity.VARIANCE: 1.0}))) == []
