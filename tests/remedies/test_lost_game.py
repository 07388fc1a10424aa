"""IM303 on games whose judge ends in a sigmoid that has gone to its bounds, beside games that go on."""

from __future__ import annotations

from typing import cast

import pytest
import pytorch_lightning as pl
import torch
from models import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.utils.data import DataLoader, TensorDataset

from init_monitor import InitMonitor, Severity


class Game(pl.LightningModule):
    """A generator against a judge, over pictures of 8 x 8 or tables; ``sigmoid``: the judge ends in one, and log(1 - D) is minimised."""

    def __init__(self, *, pictures: bool, sigmoid: bool, judge_rate: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.automatic_optimization = False
        self.sigmoid, self.judge_rate = sigmoid, judge_rate
        self.painter = nn.Sequential(
            nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 64 if pictures else 5)
        )
        if pictures:
            seen = [
                nn.Unflatten(1, (1, 8, 8)),
                nn.Conv2d(1, 16, 3, 2, 1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(16, 32, 3, 2, 1),
            ]
            body = [*seen, nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(128, 1)]
        else:
            body = [nn.Linear(5, 96), nn.LeakyReLU(0.2), nn.Linear(96, 96), nn.LeakyReLU(0.2), nn.Linear(96, 1)]
        self.critic = nn.Sequential(*body, *([nn.Sigmoid()] if sigmoid else []))

    def training_step(self, batch: tuple[Tensor], _: int) -> None:
        (real,) = batch
        first, second = cast("list[torch.optim.Optimizer]", self.optimizers())
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        loss = F.binary_cross_entropy if self.sigmoid else F.binary_cross_entropy_with_logits
        fake = self.painter(torch.randn(len(real), 6))
        judged = loss(self.critic(real), ones) + loss(self.critic(fake.detach()), zeros)
        second.zero_grad()
        self.manual_backward(judged)
        second.step()
        out = self.critic(fake)
        first.zero_grad()
        self.manual_backward(-loss(out, zeros) if self.sigmoid else loss(out, ones))
        first.step()

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        return (
            torch.optim.Adam(self.painter.parameters(), lr=1e-3, betas=(0.5, 0.999)),
            torch.optim.Adam(self.critic.parameters(), lr=self.judge_rate, betas=(0.5, 0.999)),
        )


def said(*, pictures: bool, sigmoid: bool, judge_rate: float, shift: float) -> list[str]:
    generator = torch.Generator().manual_seed(1)
    real = shift + 0.3 * torch.randn(2048, 64 if pictures else 5, generator=generator)
    monitor = InitMonitor(sinks=(), strict=True)
    game = Game(pictures=pictures, sigmoid=sigmoid, judge_rate=judge_rate)
    fit(game, DataLoader(TensorDataset(real), batch_size=64, shuffle=True), monitor, steps=601, max_epochs=-1)
    return [f"{one.code} {one.message} {one.remedy}" for one in monitor.findings if one.severity is not Severity.INFO]


@pytest.mark.parametrize(("pictures", "shift"), [(False, 8.0), (True, 3.0)])
def test_a_judge_that_is_sure_by_its_sigmoid_is_told_with_the_loss_that_keeps_a_slope(
    *, pictures: bool, shift: float
) -> None:
    (finding,) = (
        one for one in said(pictures=pictures, sigmoid=True, judge_rate=4e-3, shift=shift) if one.startswith("IM303")
    )
    assert "painter, which learns through it" in finding
    assert "-log D" in finding


@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize(("sigmoid", "judge_rate", "shift"), [(False, 4e-3, 8.0), (True, 2e-4, 0.5)])
def test_a_game_that_goes_on_is_not(*, pictures: bool, sigmoid: bool, judge_rate: float, shift: float) -> None:
    assert [
        one for one in said(pictures=pictures, sigmoid=sigmoid, judge_rate=judge_rate, shift=shift) if "IM303" in one
    ] == []
