"""What is said of a run without findings: healthy only where it was seen to learn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from builders import linears
from models import Classifier, fit, loader, mlp

from init_monitor import InitMonitor
from init_monitor.analysis.learning import course_of, level_since
from init_monitor.display.verdict import verdict_of
from init_monitor.records import LossCurve, LossStretch, Structure

if TYPE_CHECKING:
    from pathlib import Path

NET = linears(3, width=10)


def words(values: Any) -> tuple[bool, str]:
    curve = LossCurve()
    curve.add(LossStretch.of(enumerate(np.asarray(values, np.float64).tolist())))
    verdict = verdict_of(curve, NET, [])
    return verdict.healthy, verdict.words


def test_only_a_loss_that_fell_is_healthy() -> None:
    assert words(np.linspace(2, 1, 100)) == (True, "the loss fell from 1.95 to 1.1")
    assert words([]) == (False, "the loss is not known")
    assert words([1.0] * 5) == (False, "too early to say whether it learns")
    assert words([2.0] * 100) == (False, "but the loss has not fallen since step 0 (2 at the start, 2 now)")
    lower_by_chance = 1.4 + 0.05 * np.sin(np.arange(100) * 7.0) - 0.0004 * np.arange(100)
    assert words(lower_by_chance) == (
        False,
        "but the loss has not fallen since step 0 by more than its noise (1.4 at the start, 1.38 now)",
    )
    fell_then_stood = [*np.linspace(2, 1, 20), *[1.0] * 20, *np.linspace(1, 2, 60)]
    assert words(fell_then_stood)[0] is False
    assert words([*np.linspace(2, 1, 99), math.nan]) == (False, "but the loss is not finite since step 99")


@pytest.mark.parametrize("learns", [True, False])
def test_the_closing_line_of_a_run_says_healthy_where_it_learned(
    learns: bool,  # noqa: FBT001
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    data = loader(16, samples=4096, batch=64)
    x, y = data.dataset.tensors  # type: ignore[attr-defined]
    y.copy_(x[:, :10].argmax(1))
    monitor = InitMonitor(rules=())
    fit(Classifier(mlp(2, 16), optimizer="Adam", lr=1e-2 if learns else 1e-9), data, monitor, steps=80, max_epochs=-1)
    last = capsys.readouterr().out.splitlines()[-1]
    assert ("healthy so far, no findings in 80 steps" in last) is learns
    assert ("measured); the loss fell from 2." in last) is learns
    assert ("nothing wrong was seen in the signal in 80 steps" in last) is not learns
    assert ("measured), but the loss has not fallen since step" in last) is not learns
    assert monitor.report.verdict.startswith("Healthy: no finding in ") is learns


def test_a_loss_that_came_down_to_guessing_is_not_called_healthy() -> None:
    down = 24 * np.exp(-np.arange(200) / 10) + 2.4
    healthy, said = words(down)
    assert not healthy
    assert said == "but the loss is no lower than guessing would make it (17.7 at the start, 2.4 now)"
    assert words(down - 1)[0]
    one = Structure(linears(3, width=1).layers)
    curve = LossCurve()
    curve.add(LossStretch.of(enumerate((3 * np.exp(-np.arange(200) / 10) + 0.72).tolist())))
    assert verdict_of(curve, one, []).healthy, "an error near ln 2"


def test_a_run_that_stands_is_said_to_beside_its_findings() -> None:
    curve = LossCurve()
    curve.add(LossStretch.of(enumerate([2.3] * 100)))
    assert verdict_of(curve, NET, []).beside_findings == (
        ", and the loss has not fallen since step 0 (2.3 at the start, 2.3 now)"
    )
    assert verdict_of(LossCurve(), NET, []).beside_findings == ""


def test_the_step_since_which_a_loss_stands_is_that_at_which_it_came_to_its_level() -> None:
    curve = LossCurve()
    noise = np.random.default_rng(0).normal(size=300)
    values = np.concatenate([np.linspace(2.5, 2.0, 100), np.full(200, 2.0)]) + 0.02 * noise
    curve.add(LossStretch.of(enumerate(values.tolist())))
    assert 70 <= level_since(curve, course_of(curve)) <= 110


def test_a_loss_that_only_fell_back_from_where_the_first_steps_threw_it_is_not_called_healthy() -> None:
    thrown = [1.2, *(8 * np.exp(-np.arange(150) / 20) + 1.3)]
    assert words(thrown) == (False, "but the loss is no lower than the first one (1.2, 1.31 now)")
