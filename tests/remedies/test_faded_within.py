"""IM702 on layers that turn what they receive into next to nothing, beside ones that give little and learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytorch_lightning as pl
import torch
from models import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.utils.data import DataLoader, TensorDataset

from init_monitor import InitMonitor, Severity

if TYPE_CHECKING:
    from init_monitor import Finding


class Radial(nn.Module):
    """exp(-(distance / width)²) to learned centres."""

    def __init__(self, centres: Tensor, width: float) -> None:
        super().__init__()
        self.centres, self.width = nn.Parameter(centres), width

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(-((torch.cdist(x, self.centres) / self.width) ** 2))


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


class Bells(nn.Module):
    """Bells over products with learned directions, as wavelet networks have them."""

    def __init__(self, inputs: int, units: int, scale: float) -> None:
        super().__init__()
        self.weight, self.scale = nn.Parameter(drawn(units, inputs) / inputs**0.5), scale

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(-((F.linear(x, self.weight).abs() * self.scale + self.scale) ** 2))


class Training(pl.LightningModule):
    """Units of one kind and a linear layer, on three classes."""

    def __init__(self, units: nn.Module, count: int) -> None:
        super().__init__()
        self.units, self.out = units, nn.Linear(count, 3)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        return F.cross_entropy(self.out(self.units(batch[0])), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def table(columns: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(512, columns, generator=torch.Generator().manual_seed(1))
    return x, (x[:, 0] + x[:, 1] > 0).long() + (x[:, 2] > 0.5).long()


def said(units: nn.Module, count: int, columns: int) -> list[Finding]:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    data = DataLoader(TensorDataset(*table(columns)), batch_size=64, shuffle=True)
    fit(Training(units, count), data, monitor, steps=201, max_epochs=-1)
    return [one for one in monitor.findings if one.severity is not Severity.INFO]


@pytest.mark.parametrize(
    ("units", "count", "columns"),
    [
        (Radial(drawn(40, 50), 1.0), 40, 50),
        (Radial(5 * drawn(30, 12), 1.0), 30, 12),
    ],
)
def test_units_that_give_next_to_nothing_are_named(units: nn.Module, count: int, columns: int) -> None:
    (finding,) = said(units, count, columns)
    assert (finding.code, finding.layers, finding.severity) == ("IM702", ("units",), Severity.WARNING)
    assert "next to nothing" in finding.message
    assert "width" in finding.remedy


def test_what_an_exponential_behind_a_product_leaves_is_told_with_its_size() -> None:
    finding = said(Bells(20, 32, 6.0), 32, 20)[0]
    assert (finding.code, finding.layers) == ("IM702", ("out",))
    assert "of what units gives: next to nothing" in finding.message
    assert "an exponential of large negative numbers" in finding.remedy


@pytest.mark.parametrize(
    ("units", "count", "columns"),
    [
        (Radial(table(50)[0][:40].clone(), 10.0), 40, 50),
        (Radial(drawn(40, 8), 3.0), 40, 8),
        (Bells(20, 32, 1.0), 32, 20),
        (Bells(20, 32, 2.0), 32, 20),
    ],
)
def test_units_that_see_their_samples_are_not(units: nn.Module, count: int, columns: int) -> None:
    assert [one for one in said(units, count, columns) if one.code == "IM702"] == []
