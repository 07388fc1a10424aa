"""IM603 on schedules that return the rate itself, beside warm-ups and schedules that end low."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import pytorch_lightning as pl
import torch
from builders import only
from models import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from init_monitor import InitMonitor, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor import Finding

STEPS = 160


class Training(pl.LightningModule):
    """A small network whose rate is scheduled."""

    def __init__(self, factor: Callable[[int], float], rate: float, *, sgd: bool, interval: str = "step") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 3))
        self.factor, self.rate, self.sgd, self.interval = factor, rate, sgd, interval

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        made = torch.optim.SGD(self.net.parameters(), lr=self.rate, momentum=0.9) if self.sgd else None
        optimizer = made or torch.optim.AdamW(self.net.parameters(), lr=self.rate)
        return [optimizer], [{"scheduler": lr_scheduler.LambdaLR(optimizer, self.factor), "interval": self.interval}]


def said(factor: Callable[[int], float], rate: float, *, sgd: bool = False, interval: str = "step") -> list[Finding]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(320, 12, generator=generator)
    y = (x[:, 0] + x[:, 1] > 0).long() + (x[:, 2] > 0.5).long()
    monitor = InitMonitor(sinks=(), strict=True)
    data = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
    fit(Training(factor, rate, sgd=sgd, interval=interval), data, monitor, steps=STEPS, max_epochs=-1)
    return [one for one in monitor.findings if one.severity is not Severity.INFO]


def warmed(step: int) -> float:
    return min(1.0, (step + 1) / 30) * 0.5 * (1 + math.cos(math.pi * step / STEPS))


def stairs(step: int) -> float:
    return 0.5 ** (step // 40)


@pytest.mark.parametrize(
    ("shape", "rate", "sgd"),
    [(warmed, 2e-3, False), (stairs, 1e-3, False), (lambda _: 1.0, 3e-4, False), (warmed, 1e-2, True)],
)
def test_a_lambda_that_returns_the_rate_is_told_with_the_factor(
    shape: Callable[[int], float], rate: float, *, sgd: bool
) -> None:
    finding = only(said(lambda step: rate * shape(step), rate, sgd=sgd))
    assert (finding.code, finding.severity) == ("IM603", Severity.WARNING)
    assert finding.step <= 100
    assert "multiplied with itself" in finding.message
    assert "return a factor" in finding.remedy
    assert f"/ {rate:g})" in finding.remedy
    assert finding.evidence["factor"] <= rate * 1.01


@pytest.mark.parametrize(
    ("factor", "rate", "interval"),
    [
        (warmed, 2e-3, "step"),
        (lambda step: 1e-3 if step < 2 else 1.0, 5e-3, "epoch"),  # a warm-up that moves once per epoch
        (lambda step: min(1.0, 1e-3 + step / 100), 5e-3, "step"),
        (lambda step: max(1e-3, 0.9**step), 1e-2, "step"),
    ],
)
def test_warm_ups_and_schedules_that_end_low_are_not(
    factor: Callable[[int], float], rate: float, interval: str
) -> None:
    assert [one for one in said(factor, rate, interval=interval) if "factor" in one.evidence] == []
