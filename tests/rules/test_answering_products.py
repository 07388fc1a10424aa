"""IM502 on answers that are products of two large embeddings or towers, beside products that start as large as their targets."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from models import fit
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.utils.data import DataLoader, TensorDataset

from init_monitor import InitMonitor, Severity
from init_monitor.remedies.odd_parameters import PRODUCT


class Ratings(pl.LightningModule):
    """Two tables (or towers) whose rows are multiplied; ``by`` says how the error is written."""

    def __init__(self, width: int, std: float, *, by: str = "mse", towers: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.people, self.things = nn.Embedding(60, width), nn.Embedding(40, width)
        self.bias, self.by, self.towers = nn.Parameter(torch.zeros(())), by, towers
        self.one, self.other = nn.Linear(width, width), nn.Linear(width, width)
        for table in (self.people, self.things):
            nn.init.normal_(table.weight, std=std)

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> Tensor:
        person, thing, rating = batch
        u, v = self.people(person), self.things(thing)
        if self.towers:
            u, v = self.one(u), self.other(v)
        answer = (u * v).sum(1) + self.bias
        if self.by == "entropy":
            return F.binary_cross_entropy_with_logits(answer, (rating > 0).float())
        return F.mse_loss(answer, rating) if self.by == "mse" else (rating - answer).pow(2).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def said(model: Ratings, *, times: float = 1.0, mean: float = 0.0) -> list[str]:
    generator = torch.Generator().manual_seed(1)
    person = torch.randint(0, 60, (4096,), generator=generator)
    thing = torch.randint(0, 40, (4096,), generator=generator)
    taste, kind = torch.randn(60, 4, generator=generator), torch.randn(40, 4, generator=generator)
    rating = mean + times * ((taste[person] * kind[thing]).sum(1) / 2 + 0.1 * torch.randn(4096, generator=generator))
    data = DataLoader(TensorDataset(person, thing, rating), batch_size=256, shuffle=True)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(model, data, monitor, steps=60, max_epochs=-1)
    loud = [one for one in monitor.findings if one.severity is not Severity.INFO and one.code == "IM502"]
    return [f"{one.message} {one.remedy}" for one in loud if PRODUCT in one.evidence]


@pytest.mark.parametrize(("width", "by"), [(64, "mse"), (64, "hand"), (128, "mse")])
def test_products_of_tables_as_torch_draws_them_are_told_with_their_spread(width: int, by: str) -> None:
    (found,) = said(Ratings(width, 1.0, by=by), mean=3.5)
    assert f"standard deviation of {width}^(-1/4)" in found
    assert "check(model" not in found
    assert "nn.init.normal_(model.people.weight, std=0." in found
    assert "nn.init.normal_(model.things.weight, std=0." in found


@pytest.mark.parametrize(
    ("model", "times", "mean"),
    [
        (Ratings(64, 0.1), 1.0, 3.5),
        (Ratings(64, 0.35), 1.0, 0.0),
        (Ratings(8, 1.0), 1.0, 3.5),
        (Ratings(64, 1.0), 20.0, 0.0),  # targets that are as large themselves
        (Ratings(64, 1.0), 1.0, 100.0),
        (Ratings(64, 0.3, towers=True), 1.0, 0.0),
        (Ratings(64, 1.0, by="entropy"), 1.0, 0.0),  # its loss is no squared error
    ],
)
def test_products_of_the_size_of_their_targets_are_not(model: Ratings, times: float, mean: float) -> None:
    assert said(model, times=times, mean=mean) == []
