"""A codebook of which one entry serves every sample (IM702), and one that is used."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from models import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.utils.data import DataLoader, TensorDataset

from init_monitor import Finding, InitMonitor, Severity


class Quantised(pl.LightningModule):
    """A sequence of steps, each replaced by the nearest of 32 entries, with a straight-through gradient."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.into, self.codes, self.out = nn.Linear(10, 6), nn.Embedding(32, 6), nn.Linear(6, 24)
        self.end = nn.Linear(24, 10)
        nn.init.normal_(self.codes.weight, std=std)

    def training_step(self, batch: tuple[Tensor, ...], _: int) -> Tensor:
        z = self.into(batch[0])
        nearest = (z[..., None, :] - self.codes.weight).square().sum(-1).argmin(-1)
        code = self.codes(nearest)
        made = self.end(torch.tanh(self.out(z + (code - z).detach())))
        return F.l1_loss(made, batch[0]) + F.mse_loss(code, z.detach()) + F.mse_loss(z, code.detach())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def said(std: float) -> list[Finding]:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    data = DataLoader(TensorDataset(torch.randn(512, 5, 10)), batch_size=32)
    fit(Quantised(std), data, monitor, steps=80, max_epochs=-1)
    return [one for one in monitor.findings if one.code in {"IM702", "IM704"} and one.severity is not Severity.INFO]


def test_one_entry_that_is_nearest_to_everything_is_named_and_no_layer_before_it() -> None:
    told = said(40.0)
    assert told
    for finding in told:
        assert (finding.code, finding.layers) == ("IM702", ("out", "codes")), "and the rows are not told besides"
        assert "codes gives the same entry for every sample" in finding.message
        assert "Look at codes: one of its entries is the nearest for every sample." in finding.remedy
        assert "into gives a standard deviation of" in finding.remedy


@pytest.mark.parametrize("std", [0.1, 0.6])
def test_a_codebook_that_is_used_is_not_told(std: float) -> None:
    assert said(std) == []
