"""IM702 on losses that compare outputs with each other and have nothing to keep them apart, beside healthy ones of the same kinds."""

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
    from collections.abc import Callable

    from init_monitor import Finding

    Loss = Callable[[nn.ModuleDict, Tensor, Tensor], Tensor]

WIDTH = 24


class Training(pl.LightningModule):
    """Networks that a loss calls itself, and compares what they give."""

    def __init__(self, loss: Loss, *, picture: bool = False, rate: float = 3e-3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.nets = nn.ModuleDict({name: _net(picture=picture) for name in ("one", "other")})
        self.nets["predictor"] = nn.Sequential(nn.Linear(WIDTH, 12), nn.LayerNorm(12), nn.ReLU(), nn.Linear(12, WIDTH))
        self.loss, self.rate = loss, rate

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        return self.loss(self.nets, batch[0], batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.rate)


def _net(*, picture: bool) -> nn.Sequential:
    if picture:
        layers = [
            nn.Unflatten(1, (1, 6, 6)),
            nn.Conv2d(1, 12, 3),
            nn.GELU(),
            nn.Conv2d(12, 12, 3),
            nn.GELU(),
            nn.Flatten(),
        ]
        return nn.Sequential(*layers, nn.Linear(48, WIDTH))
    return nn.Sequential(nn.Linear(36, 48), nn.LayerNorm(48), nn.Tanh(), nn.Linear(48, WIDTH))


def said(loss: Loss, *, picture: bool = False, steps: int = 301) -> list[Finding]:
    """Train on samples of four kinds."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(512, 36, generator=generator)
    y = 2 * (x[:, :6].sum(1) > 0).long() + (x[:, 6:12].sum(1) > 0).long()
    monitor = InitMonitor(sinks=(), strict=True)
    fit(
        Training(loss, picture=picture),
        DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True),
        monitor,
        steps=steps,
        max_epochs=-1,
    )
    return [one for one in monitor.findings if one.severity is not Severity.INFO]


def views(x: Tensor) -> tuple[Tensor, Tensor]:
    return x + torch.randn_like(x), x + torch.randn_like(x)


def cosine_of_views(nets: nn.ModuleDict, x: Tensor, _: Tensor) -> Tensor:
    one, other = (nets["one"](view) for view in views(x))
    return -F.cosine_similarity(one, other).mean()


def normalised_by_hand(nets: nn.ModuleDict, x: Tensor, _: Tensor) -> Tensor:
    one, other = (nets["one"](view) for view in views(x))
    one, other = one / one.norm(dim=1, keepdim=True), other / other.norm(dim=1, keepdim=True)
    alike: Tensor = (one * other).sum(1)
    return 2 - 2 * alike.mean()


def only_positives(nets: nn.ModuleDict, x: Tensor, _: Tensor) -> Tensor:
    match = (nets["one"](x) * nets["other"](x[torch.randperm(len(x))])).sum(1)
    return F.binary_cross_entropy_with_logits(match, torch.ones_like(match))


def labels_of_zero(nets: nn.ModuleDict, x: Tensor, y: Tensor) -> Tensor:
    out, order = nets["one"](x), torch.randperm(len(x))
    return F.cosine_embedding_loss(out, out[order], (y == y[order]).float())


@pytest.mark.parametrize("picture", [False, True])
@pytest.mark.parametrize("loss", [cosine_of_views, normalised_by_hand, only_positives, labels_of_zero])
def test_what_nothing_keeps_apart_comes_to_point_one_way(loss: Loss, *, picture: bool) -> None:
    findings = [one for one in said(loss, picture=picture) if one.code == "IM702"]
    assert len(findings) == 1
    assert "into one direction" in findings[0].message
    assert "keep representations apart" in findings[0].remedy
    assert all(name.startswith(("nets.one", "nets.other")) for name in findings[0].layers)


def against_the_batch(nets: nn.ModuleDict, x: Tensor, _: Tensor) -> Tensor:
    one, other = (F.normalize(nets["one"](view)) for view in views(x))
    return F.cross_entropy(one @ other.T / 0.2, torch.arange(len(x)))


def with_a_predictor(nets: nn.ModuleDict, x: Tensor, _: Tensor) -> Tensor:
    one, other = (nets["one"](view) for view in views(x))
    return -F.cosine_similarity(nets["predictor"](one), other.detach()).mean()


def labels_of_minus_one(nets: nn.ModuleDict, x: Tensor, y: Tensor) -> Tensor:
    out, order = nets["one"](x), torch.randperm(len(x))
    return F.cosine_embedding_loss(out, out[order], 2 * (y == y[order]).float() - 1)


def triplets(nets: nn.ModuleDict, x: Tensor, y: Tensor) -> Tensor:
    out = nets["one"](x)
    far = torch.cdist(out, out)
    same = y[:, None] == y
    near, away = (far * same).sum(1) / same.sum(1), (far * ~same).sum(1) / (~same).sum(1)
    return F.relu(near - away + 0.5).mean()


def similar_by_degrees(nets: nn.ModuleDict, x: Tensor, y: Tensor) -> Tensor:
    """All pairs are much alike by their labels, which are numbers: 0.9 and more."""
    out, order = nets["one"](x), torch.randperm(len(x))
    return F.mse_loss(F.cosine_similarity(out, out[order]), 0.9 + 0.1 * (y == y[order]).float())


def rated(nets: nn.ModuleDict, x: Tensor, y: Tensor) -> Tensor:
    """Products of two towers that are to be far from 0, and all about the same."""
    return F.mse_loss((nets["one"](x) * nets["other"](x)).sum(1), 20 + 0.5 * y.float())


def far_from_zero(nets: nn.ModuleDict, x: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(nets["one"](x), (280 + y.float()[:, None] + x[:, :WIDTH]) / 100)


def mean_and_spread(nets: nn.ModuleDict, x: Tensor, _: Tensor) -> Tensor:
    mean, log_spread = nets["one"](x), nets["other"](x)
    costs: Tensor = log_spread + 0.5 * ((5 + 0.3 * x[:, :WIDTH] - mean) / log_spread.exp()).square()
    return costs.mean()


@pytest.mark.parametrize(
    "loss",
    [
        against_the_batch,
        with_a_predictor,
        labels_of_minus_one,
        triplets,
        similar_by_degrees,
        rated,
        far_from_zero,
        mean_and_spread,
    ],
)
@pytest.mark.parametrize("picture", [False, True])
def test_what_is_kept_apart_or_answers_data_is_not(loss: Loss, *, picture: bool) -> None:
    assert [one for one in said(loss, picture=picture) if one.code == "IM702"] == []
