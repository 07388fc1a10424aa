"""Embeddings that are met by an objective, and say nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.field.case import Case, Program, answer
from benchmarks.field.programs.base import Learner, adam, mlp
from benchmarks.field.programs.material import batches, rows
from benchmarks.field.remedy import Remedy

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytorch_lightning as pl


class TwoViews(Learner):
    """Two noisy views of a picture are to have one representation.

    Args:
        apart: ask each number of it to differ between pictures, and not to say what another says, as VICReg does.
    """

    def __init__(self, *, apart: bool) -> None:
        super().__init__(adam(2e-3))
        self.apart = apart
        self.encoder = mlp((64, 96, 32))

    def loss(self, batch: list[Tensor]) -> Tensor:
        (x,) = batch
        a, b = (self.encoder(x + 0.5 * torch.randn_like(x)) for _ in range(2))
        alike = F.mse_loss(a, b)
        if not self.apart:
            return alike
        spread = torch.stack([F.relu(1 - (h.var(0) + 1e-4).sqrt()).mean() for h in (a, b)]).mean()
        mixed = torch.cov(a.T).fill_diagonal_(0).square().sum() / 32
        return 2 * alike + 2 * spread + 0.1 * mixed


def _alike(module: pl.LightningModule, loader: Iterable[Any]) -> float:
    """Return the mean cosine between different pictures: 1 if all have one representation."""
    (x,) = loader.dataset.tensors  # type: ignore[attr-defined]
    h = F.normalize(module.encoder(x[:400]), dim=1)  # type: ignore[operator]
    return float(((h @ h.T).sum() - 400) / (400 * 399))


class Triplets(Learner):
    """Nearer to a picture of the same digit than to one of another, by a margin."""

    def __init__(self, rate: float) -> None:
        super().__init__(adam(rate))
        self.embed = mlp((64, 128, 64, 8))

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, y = batch
        h = self.embed(x)
        distance = (h[:, None] - h[None]).square().sum(-1)
        same = (y[:, None] == y[None]).float()
        farthest = (distance * same).amax(1)  # the hardest of the batch, on both sides
        nearest = (distance + 1e4 * same).amin(1)
        return F.relu(farthest - nearest + 0.5).mean()


def _not_the_neighbour(module: pl.LightningModule, loader: Iterable[Any]) -> float:
    x, y = loader.dataset.tensors  # type: ignore[attr-defined]
    h = module.embed(x[:800])  # type: ignore[operator]
    near = torch.cdist(h, h).fill_diagonal_(torch.inf).argmin(1)
    return float((y[:800][near] != y[:800]).float().mean())


CASES = (
    Case(
        "two_views_and_nothing_else",
        "Two views of a picture are drawn together and nothing keeps pictures apart: all get one representation.",
        lambda: Program(TwoViews(apart=False), batches(rows()[0], batch=128)),
        lambda: Program(TwoViews(apart=True), batches(rows()[0], batch=128)),
        answer("IM702", *[Remedy.COLLAPSE, Remedy.LOSS_TERM], by=150, beside="IM102 IM202 IM603"),
        steps=200,
        score=_alike,
        measured=(1.0, 0.222),
    ),
    Case(
        "triplets_at_the_margin",
        "Triplets with the hardest of a batch at a rate of 0.1: embeddings are identical, the loss is the margin.",
        lambda: Program(Triplets(0.1), batches(*rows(), batch=64)),
        lambda: Program(Triplets(5e-4), batches(*rows(), batch=64)),
        answer(
            "IM702 IM301 IM102 IM603",
            *[Remedy.COLLAPSE, Remedy.SLOWER],
            by=150,
            beside="IM101 IM102 IM201 IM202 IM301 IM603",
        ),
        steps=200,
        score=_not_the_neighbour,
        measured=(0.9, 0.0188),
    ),
)
