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
from init_monitor.display.verdict import verdict_of
from init_monitor.records import LossCurve, LossStretch

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
    assert words([2.0] * 100) == (False, "but the loss has not left its level (2 at the start, 2 now)")
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
    assert ("the loss has not left its level" in last) is not learns
    assert monitor.report.verdict.startswith("Healthy: no finding in ") is learns
