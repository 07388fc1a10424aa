"""IM802 on trainings whose weights are put back at the end of each epoch, beside healthy ones with as regular a loss."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import pytorch_lightning as pl
import torch
from builders import only
from models import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.utils.data import DataLoader, TensorDataset

from init_monitor import InitMonitor, Severity
from init_monitor.analysis.set_backs import set_back
from init_monitor.records import LossCurve, LossStretch

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor import Finding

EPOCHS, BATCHES = 8, 20


class Training(pl.LightningModule):
    """A small network on three classes; ``after`` is called with it at the end of each epoch."""

    def __init__(self, after: Callable[[Training], None] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 3))
        self.first, self.average = copy.deepcopy(self.net.state_dict()), copy.deepcopy(self.net)
        self.average.requires_grad_(requires_grad=False)
        self.after = after
        self.restarts = False

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def on_train_batch_end(self, *_: object) -> None:
        for mean, weight in zip(self.average.parameters(), self.net.parameters(), strict=True):
            mean.lerp_(weight.detach(), 1e-3)

    def on_train_epoch_end(self) -> None:
        if self.after is not None:
            self.after(self)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-2)
        if not self.restarts:
            return optimizer
        schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, BATCHES)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def averaged(training: Training) -> None:
    training.net.load_state_dict(training.average.state_dict())


def looked_at(training: Training) -> None:
    own = copy.deepcopy(training.net.state_dict())
    averaged(training)
    training.net.load_state_dict(own)


def begun_again(training: Training) -> None:
    training.net.load_state_dict(training.first)


def drawn_again(training: Training) -> None:
    for layer in training.net:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()


def said(training: Training, *, shuffle: bool = True) -> list[Finding]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(16 * BATCHES, 12, generator=generator)
    y = (x[:, 0] + x[:, 1] > 0).long() + (x[:, 2] > 0.5).long()
    order = torch.arange(len(x)) if shuffle else (x[:, 0] + x[:, 1]).abs().argsort()
    data = DataLoader(TensorDataset(x[order], y[order]), batch_size=16, shuffle=shuffle)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(training, data, monitor, steps=EPOCHS * BATCHES, max_epochs=-1)
    return [one for one in monitor.findings if one.severity is not Severity.INFO]


@pytest.mark.parametrize("after", [averaged, begun_again, drawn_again])
def test_weights_that_are_put_back_after_each_epoch_are_told(after: Callable[[Training], None]) -> None:
    finding = only(said(Training(after)))
    assert finding.code == "IM802"
    assert finding.severity is Severity.WARNING
    assert f"undone every {BATCHES} steps" in finding.message
    assert "put it back" in finding.remedy
    assert finding.evidence["set_backs"] >= 5


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_look_at_the_average_and_data_in_order_are_not(*, shuffle: bool) -> None:
    assert said(Training(looked_at), shuffle=shuffle) == []


def test_a_rate_that_begins_anew_is_not() -> None:
    training = Training()
    training.restarts = True
    assert said(training) == []


def test_targets_in_order_under_a_rate_that_moves_nothing_are_not() -> None:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(16 * BATCHES, 12, generator=generator), torch.randn(16 * BATCHES, 1, generator=generator)
    order = y[:, 0].abs().argsort(descending=True)
    data = DataLoader(TensorDataset(x[order], y[order]), batch_size=16)

    losses: list[float] = []

    class Slow(Training):
        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            loss = F.mse_loss(self.net(batch[0])[:, :1], batch[1])
            losses.append(float(loss.detach()))
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.net.parameters(), lr=1e-5)

    monitor = InitMonitor(sinks=(), strict=True)
    fit(Slow(), data, monitor, steps=EPOCHS * BATCHES, max_epochs=-1)
    curve = LossCurve()
    curve.add(LossStretch.of(enumerate(losses)))
    assert set_back(curve, 5) is not None, "the curve alone looks like it"
    assert [one.code for one in monitor.findings if one.code == "IM802"] == []
