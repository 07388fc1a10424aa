"""Between the network and its loss: what cuts, bounds, outweighs, or has the wrong sign."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.field.case import Case, Program, answer
from benchmarks.field.programs.base import Learner, Supervised, adam, adamw, mlp, sgd, share_missed, small_cnn
from benchmarks.field.programs.material import (
    batches,
    cancer,
    function,
    grey_pictures,
    rows,
    unit_rows,
    waves,
)
from benchmarks.field.programs.schedules import BLOWN_UP
from benchmarks.field.remedy import Remedy

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytorch_lightning as pl


class Signed(nn.Linear):
    """A layer whose weights are used by their signs.

    Args:
        passed: let the gradient pass the sign, as if it were not there.
    """

    def __init__(self, fan_in: int, fan_out: int, *, passed: bool) -> None:
        super().__init__(fan_in, fan_out)
        self.passed = passed

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.sign() * self.weight.abs().mean().detach()
        if self.passed:
            weight = self.weight + (weight - self.weight).detach()
        return F.linear(x, weight, self.bias)


def _binary(*, passed: bool) -> Program:
    net = nn.Sequential(
        *[Signed(64, 48, passed=passed), nn.LayerNorm(48), nn.Tanh()],
        *[Signed(48, 24, passed=passed), nn.LayerNorm(24), nn.Tanh(), nn.Linear(24, 10)],
    )
    return Program(Supervised(net, F.cross_entropy, adam(3e-3)), batches(*rows(), batch=64))


class Stochastic(Learner):
    """An autoencoder whose code is drawn from a normal distribution, with a path for the gradient or without."""

    def __init__(self, *, path: bool) -> None:
        super().__init__(adamw(2e-3))
        self.path = path
        self.encoder = nn.Sequential(nn.Linear(64, 48), nn.SiLU(), nn.Linear(48, 8))
        self.decoder = nn.Sequential(nn.Linear(8, 48), nn.SiLU(), nn.Linear(48, 64))

    def loss(self, batch: list[Tensor]) -> Tensor:
        code = torch.distributions.Normal(self.encoder(batch[0]), 0.1)
        drawn = code.rsample() if self.path else code.sample()
        return F.mse_loss(self.decoder(drawn), batch[0])


def _whole_numbers(*, divided: bool) -> Program:
    """Pixels of whole numbers, divided by 255 with ``//``."""
    x, y = grey_pictures()
    x = (x / 16 * 254).round()
    images = x / 255 if divided else (x.long() // 255).float()
    return Program(Supervised(small_cnn(16), F.cross_entropy, adam(2e-3)), batches(images, y, batch=64))


class Triplets(Learner):
    """Draws pictures of one digit together; the margin is in other units than the embedding."""

    def __init__(self, margin: float) -> None:
        super().__init__(sgd(0.05, momentum=0.9))
        self.margin = margin
        self.embed = mlp((64, 64, 16))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.embed(x), dim=1)

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, y = batch
        near = (self(x)[:, None] - self(x)[None]).square().sum(2)
        same = y[:, None] == y[None]
        return F.relu((near * same).sum(1) / same.sum(1) - near.mean(1) + self.margin).mean()


def _mixed_up(module: pl.LightningModule, loader: Iterable[Any]) -> float:
    x, y = loader.dataset.tensors  # type: ignore[attr-defined]
    e = module(x[:512])
    near = (e @ e.T).fill_diagonal_(-2).argmax(1)
    return float((y[:512][near] != y[:512]).float().mean())


def _wrong_sign(sign: float) -> Program:
    """A similarity that is minimised where it was to be maximised."""
    x, y = function()

    def criterion(out: Tensor, target: Tensor) -> Tensor:
        return sign * (out - target).square().mean()

    return Program(Supervised(mlp((8, 64, 64, 1)), criterion, adam(1e-2)), batches(x, y, batch=64))


def _angles(*, bounded: bool) -> Program:
    """Angles in degrees behind a tanh."""
    x, y = function()
    degrees = 90 * y
    net = nn.Sequential(*mlp((8, 64, 64, 1), nn.ReLU), *([nn.Tanh()] if bounded else []))
    target = degrees if bounded else degrees / 90
    return Program(Supervised(net, F.mse_loss, adam(5e-3)), batches(x, target, batch=64))


class Volatility(Learner):
    """The next log return of a curve: negative throughout, behind a softplus-like rectifier."""

    def __init__(self, *, rectified: bool) -> None:
        super().__init__(adam(5e-3))
        self.gru, self.read, self.rectified = nn.GRU(1, 32, batch_first=True), nn.Linear(32, 1), rectified
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.read(self.gru(x)[0][:, -1])
        shown: Tensor = self.relu(out) if self.rectified else out
        return shown

    def loss(self, batch: list[Tensor]) -> Tensor:
        return F.mse_loss(self(batch[0]), batch[1])


def _negative(*, rectified: bool) -> Program:
    x, y = waves()
    return Program(Volatility(rectified=rectified), batches(x, y - 4, batch=64))


def _weighted(weight: float) -> Program:
    """A weight for the positive class in the tens of thousands."""

    def criterion(out: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(out, y, pos_weight=torch.tensor(weight))

    return Program(Supervised(mlp((30, 48, 48, 1)), criterion, sgd(0.05, momentum=0.9)), batches(*cancer(), batch=32))


def _binary_wrong(module: pl.LightningModule, loader: Iterable[Any]) -> float:
    x, y = loader.dataset.tensors  # type: ignore[attr-defined]
    return float(((module(x) > 0).float() != y).float().mean())


class Sparse(Learner):
    """An autoencoder with a penalty on its code that outweighs what it is to reconstruct."""

    def __init__(self, weight: float) -> None:
        super().__init__(adam(3e-3))
        self.weight = weight
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
        self.decoder = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.decoder(self.encoder(x))
        return out

    def loss(self, batch: list[Tensor]) -> Tensor:
        code = self.encoder(batch[0])
        loss: Tensor = F.mse_loss(self.decoder(code), batch[0]) + self.weight * code.abs().sum(1).mean()
        return loss


def _missed(module: pl.LightningModule, loader: Iterable[Any]) -> float:
    (x,) = loader.dataset.tensors  # type: ignore[attr-defined]
    return float(F.mse_loss(module(x), x) / x.var(0).mean())


def _years(*, raw: bool) -> Program:
    """A house's year and price per foot; the target in millions, with Adam, whose steps do not depend on it."""
    x, y = function()
    target = 3e5 + 1e5 * y if raw else y
    return Program(Supervised(mlp((8, 48, 48, 1)), F.mse_loss, adam(1e-3)), batches(x, target, batch=64))


CASES = (
    Case(
        "signs_of_weights",
        "A network of binary weights takes the signs of its weights, and nothing lets the gradient pass.",
        lambda: _binary(passed=False),
        lambda: _binary(passed=True),
        answer("IM602 IM202", Remedy.CONNECT, by=60, layers=("net.0*", "net.3*")),
        steps=200,
        measured=(0.707, 0.222),
    ),
    Case(
        "sampled_without_a_path",
        "The code of an autoencoder is drawn by sample() instead of rsample(): no gradient reaches the encoder.",
        lambda: Program(Stochastic(path=False), batches(unit_rows(), batch=64)),
        lambda: Program(Stochastic(path=True), batches(unit_rows(), batch=64)),
        answer("IM602", Remedy.CONNECT, by=20, layers=("encoder*",)),
        steps=250,
        measured=(0.0701, 0.03),
    ),
    Case(
        "divided_as_whole_numbers",
        "Pixels are divided by 255 as whole numbers: every picture is 0 throughout.",
        lambda: _whole_numbers(divided=False),
        lambda: _whole_numbers(divided=True),
        answer(
            "IM701 IM702 IM102 IM602 IM604",
            *[Remedy.INPUT, Remedy.DATA],
            by=60,
            beside="IM102 IM602 IM702 IM202 IM701",
        ),
        steps=150,
        measured=(2.3, 0.221),
    ),
    Case(
        "margin_of_minus_one",
        "The margin of a triplet loss has the wrong sign: the loss is 0 from the start, and so is its gradient.",
        lambda: Program(Triplets(-3.0), batches(*rows(), batch=64)),
        lambda: Program(Triplets(0.5), batches(*rows(), batch=64)),
        answer("IM604 IM602", *[Remedy.COLLAPSE, Remedy.CONNECT], by=10, severity="critical"),
        steps=150,
        score=_mixed_up,
        measured=(0.119, 0.0391),
    ),
    Case(
        "loss_of_the_wrong_sign",
        "A minus before the loss: the squared error is maximised, and grows without end.",
        lambda: _wrong_sign(-1.0),
        lambda: _wrong_sign(1.0),
        answer("IM802 IM603 IM101 IM601 IM201", *[Remedy.SIGN], by=200, beside=BLOWN_UP),
        steps=250,
        score=share_missed,
        measured=(1260000000000.0, 0.0726),
    ),
    Case(
        "degrees_behind_a_tanh",
        "Angles in degrees are to come out of a tanh, which ends at 1.",
        lambda: _angles(bounded=True),
        lambda: _angles(bounded=False),
        answer(
            "IM303 IM202 IM503 IM604",
            *[Remedy.OUTPUT_ACTIVATION, Remedy.TARGET],
            by=200,
            beside="IM202 IM303 IM702",
        ),
        steps=250,
        score=share_missed,
        measured=(0.983, 0.0921),
    ),
    Case(
        "rectifier_before_negative_targets",
        "A rectifier behind the last layer of a forecast whose targets are all negative: it goes off and stays so.",
        lambda: _negative(rectified=True),
        lambda: _negative(rectified=False),
        answer(
            "IM604 IM503 IM301 IM602 IM202",
            Remedy.OUTPUT_ACTIVATION,
            by=150,
            beside="IM202 IM602 IM702 IM301 IM604 IM102",
        ),
        steps=200,
        measured=(16.5, 0.0787),
    ),
    Case(
        "weight_of_a_class",
        "pos_weight=30,000 for the positive class, which was a count of samples.",
        lambda: _weighted(3e4),
        lambda: _weighted(1.0),
        answer(
            "IM603 IM601 IM201 IM101 IM802 IM703 IM301",
            *[Remedy.LOSS_TERM, Remedy.LOSS_SCALE, Remedy.SLOWER],
            by=60,
            beside=BLOWN_UP,
        ),
        steps=150,
        score=_binary_wrong,
        measured=(0.373, 0.0105),
    ),
    Case(
        "penalty_on_the_code",
        "A sparsity penalty on the code of an autoencoder outweighs its error: the code is 0.",
        lambda: Program(Sparse(1.0), batches(unit_rows(), batch=64)),
        lambda: Program(Sparse(1e-4), batches(unit_rows(), batch=64)),
        answer("IM102 IM202 IM702 IM603 IM801 IM602", Remedy.LOSS_TERM, by=200, beside="IM102 IM202 IM602 IM603 IM702"),
        steps=250,
        score=_missed,
        measured=(1.0, 0.21),
    ),
    Case(
        "price_by_adam",
        "A price of 300,000 is to be met with Adam at 1e-3, whose steps know no more than the sign.",
        lambda: _years(raw=True),
        lambda: _years(raw=False),
        answer("IM703 IM603 IM604 IM801", *[Remedy.TARGET], by=200),
        steps=250,
        score=share_missed,
        measured=(9.99, 0.247),
    ),
)
