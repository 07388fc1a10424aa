from __future__ import annotations

from typing import Any

import pytest
import torch
from builders import linears, record
from models import Classifier, fit, loader
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.utils.data import DataLoader, TensorDataset

from init_monitor import InitMonitor
from init_monitor.records import Finding, History, LossCurve, LossStretch, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.rules import UpdateRatio

NET = linears(4)
QUIET: dict[Quantity, Any] = {
    Quantity.UPDATE_RATIO: 1e-3,
    Quantity.WEIGHT_NORM: 10.0,
    Quantity.WEIGHT_COUNT: 100.0,
    Quantity.WEIGHT_GRADIENT_NORM: 1.0,
    Quantity.TRAINABLE: 1.0,
}


def judge(columns: dict[Quantity, Any], steps: list[int], losses: list[float], **fields: Any) -> list[Finding]:
    """Judge Adam at a rate of 0.001, whose step is one rate with the columns above."""
    given = {"optimizer": "Adam", "learning_rate": 1e-3, "momentum": 0.9, "second_momentum": 0.999, **fields}
    records = [record(NET, {**QUIET, **columns}, step=step, **given) for step in steps]
    curve = LossCurve()
    curve.add(LossStretch.of(enumerate(losses)))
    return list(UpdateRatio().judge(History(records, NET, losses=curve)))


FLAT = [1.0 + 0.1 * (i % 3) for i in range(10)]


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (0.9, 0.999, False),
        (0.999, 0.9, True),
        (0.995, 0.9, True),  # remembered for two hundred steps and for ten
        (0.95, 0.9, False),  # above the root, 0.949, but by so little that the size of the steps decides
        (0.5, 0.9, False),
        (0.9, 0.9, False),
        (0.0, 0.99, False),
        (0.9, float("nan"), False),
    ],
)
def test_betas_that_look_exchanged_are_told_at_once(first: float, second: float, *, told: bool) -> None:
    found = judge({}, [0, 1, 2], FLAT[:3], momentum=first, second_momentum=second)
    assert [finding.severity for finding in found] == ([Severity.WARNING] if told else [])
    if told:
        assert "betas=(0.9, 0.999)" in found[0].remedy_code


@pytest.mark.parametrize(("ratio", "told"), [(2e-3, True), (0.9e-3, False)])
def test_betas_next_to_the_bound_are_told_if_steps_exceed_their_rate(ratio: float, *, told: bool) -> None:
    found = judge({Quantity.UPDATE_RATIO: ratio}, [0, 1, 2], FLAT[:3], momentum=0.95, second_momentum=0.9)
    assert bool(found) is told
    if told:
        assert found[0].evidence["step_in_rates"] == pytest.approx(2.0)


def test_the_settings_of_several_optimizers_are_not_mixed_up() -> None:
    assert judge({}, [0, 1, 2], FLAT[:3], optimizer="SGD, Adam", momentum=0.999, second_momentum=0.9) == []


SPIKED = [1.0, 1.1, 1.0, 1e9, *(1.0 + 0.1 * (i % 3) for i in range(140))]


@pytest.mark.parametrize(
    ("ratio", "losses", "steps", "told"),
    [
        (1e-6, SPIKED, [0, 50, 100], True),
        (1e-6, SPIKED, [0, 30, 100], False),  # at 30 the momentum of the spike is still there
        (1e-4, SPIKED, [0, 50, 100], False),  # a tenth of the rate: noise does that
        (1e-6, [1e9, *SPIKED[4:]], [0, 50, 100], False),  # a first loss far above the others is the start's
        (1e-6, [x if x < 2 else 500.0 for x in SPIKED], [0, 50, 100], False),
        (1e-6, [x / (1 + i) for i, x in enumerate(SPIKED)], [0, 50, 100], False),  # it learns all the same
    ],
)
def test_steps_that_are_nothing_after_a_giant_loss_are_told(
    ratio: float, losses: list[float], steps: list[int], *, told: bool
) -> None:
    found = judge({Quantity.UPDATE_RATIO: ratio}, steps, losses[: steps[-1] + 1])
    assert ["Since step 3" in finding.message for finding in found] == ([True] if told else [])


class Regression(Classifier):
    """Learns a smooth function, with any settings of Adam."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)))
        self.settings = settings

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _batch_idx: int) -> torch.Tensor:
        return F.mse_loss(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=2e-3, **self.settings)


def rows(*, broken: bool) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2000, 8, generator=generator)
    y = torch.sin(2 * x[:, :1]) * x[:, 1:2] + 0.3 * torch.randn(2000, 1, generator=generator)
    y[60:64] *= 1e6 if broken else 1
    return DataLoader(TensorDataset(x, y), batch_size=16)


@pytest.mark.parametrize("amsgrad", [True, False])
@pytest.mark.parametrize("broken", [True, False])
def test_a_broken_batch_that_adam_remembers_is_named(*, amsgrad: bool, broken: bool) -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Regression(amsgrad=amsgrad), rows(broken=broken), monitor, steps=120)
    found = [one for one in monitor.findings if one.code == "IM603"]
    assert ["Since step 3" in one.message for one in found] == ([True] if broken else [])
    assert not found or "clip" in found[0].remedy


@pytest.mark.parametrize(("betas", "told"), [((0.999, 0.9), True), ((0.9, 0.99), False), ((0.5, 0.9), False)])
def test_exchanged_betas_are_read_from_the_optimizer(betas: tuple[float, float], *, told: bool) -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Regression(betas=betas), rows(broken=False), monitor, steps=12)
    assert (monitor.records[-1].momentum, monitor.records[-1].second_momentum) == betas
    assert [one.code for one in monitor.findings if one.severity > Severity.INFO] == (["IM603"] if told else [])


def test_an_optimizer_without_betas_has_no_second_momentum() -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(Classifier(nn.Linear(16, 10)), loader(16), monitor, steps=2)
    assert str(monitor.records[-1].second_momentum) == "nan"
