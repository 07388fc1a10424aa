"""The learning rate, the momentum, the decay of the weights or another number of the optimizer is far off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.field.case import Case, Program, answer
from benchmarks.field.programs.base import Learner, Supervised, TextClassifier, adam, adamw, mlp, sgd, small_cnn
from benchmarks.field.programs.material import batches, cancer, counted, first_letter, function, pictures, rows, wine
from benchmarks.field.programs.schedules import BLOWN_UP
from benchmarks.field.remedy import Remedy

if TYPE_CHECKING:
    from collections.abc import Iterable

FADED = "IM102 IM202 IM502 IM603 IM702"
"""What weights that were decayed away leave behind."""


def _killed(rate: float) -> Program:
    """A deep stack of rectifiers and one large first step."""
    net = mlp((64, 96, 96, 96, 96, 10))
    return Program(Supervised(net, F.cross_entropy, sgd(rate, momentum=0.9)), batches(*rows(), batch=128))


def _transformer(rate: float, *, norm_first: bool) -> Program:
    module = Supervised(TextClassifier(24, 12, 5, norm_first=norm_first, depth=3), F.cross_entropy, adam(rate))
    return Program(module, batches(*counted(), batch=64))


class Recurrent(Learner):
    """A GRU classifier trained by RMSprop."""

    def __init__(self, rate: float) -> None:
        super().__init__(lambda parameters: torch.optim.RMSprop(parameters, lr=rate))
        self.gru, self.head = nn.GRU(6, 32, batch_first=True), nn.Linear(32, 6)

    def loss(self, batch: list[Tensor]) -> Tensor:
        return F.cross_entropy(self.head(self.gru(batch[0])[0][:, -1]), batch[1])


def _tiny_rate(rate: float) -> Program:
    net = nn.Sequential(
        *[nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1)],
        *[nn.Flatten(), nn.Linear(32, 10)],
    )
    return Program(Supervised(net, F.cross_entropy, sgd(rate, momentum=0.9)), batches(*pictures(), batch=64))


def _adagrad(rate: float, accumulator: float) -> Program:
    def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adagrad(parameters, lr=rate, initial_accumulator_value=accumulator)

    return Program(Supervised(mlp((13, 32, 3)), F.cross_entropy, optimizer), batches(*wine(), batch=16))


def _momentum(momentum: float) -> Program:
    net = mlp((8, 64, 64, 1), nn.ReLU)
    return Program(Supervised(net, F.mse_loss, sgd(0.05, momentum=momentum)), batches(*function(), batch=64))


def _decayed_by_sgd(weight_decay: float) -> Program:
    net = nn.Sequential(*[nn.Linear(64, 64), nn.ReLU()], *[nn.Linear(64, 64), nn.ReLU()], nn.Linear(64, 10))
    return Program(
        Supervised(net, F.cross_entropy, sgd(0.1, momentum=0.9, weight_decay=weight_decay)), batches(*rows(), batch=64)
    )


def _decayed_by_adamw(weight_decay: float) -> Program:
    module = Supervised(small_cnn(16), F.cross_entropy, adamw(2e-3, weight_decay=weight_decay))
    return Program(module, batches(*pictures(), batch=128))


def _eps(eps: float) -> Program:
    net = mlp((30, 64, 64, 1), nn.GELU)
    module = Supervised(net, F.binary_cross_entropy_with_logits, adam(3e-4, eps=eps))
    return Program(module, batches(*cancer(), batch=32))


def _clipped(norm: float) -> Program:
    module = Supervised(mlp((64, 64, 64, 10), nn.ELU), F.cross_entropy, sgd(0.05, momentum=0.9))
    return Program(module, batches(*rows(), batch=64), {"gradient_clip_val": norm})


class Manual(pl.LightningModule):
    """Manual optimisation that may have lost its zero_grad()."""

    def __init__(self, *, zeroed: bool) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.zeroed = zeroed
        self.net = mlp((64, 64, 64, 10))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        optimizer: Any = self.optimizers()
        if self.zeroed:
            optimizer.zero_grad()
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.manual_backward(loss)
        optimizer.step()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return sgd(0.1)(self.parameters())


def _summed(reduction: str) -> Program:
    """A sum over a batch of 512 and 4 outputs where a mean was meant."""
    x, y = function(8)

    def criterion(out: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(out, target, reduction=reduction)

    return Program(Supervised(mlp((8, 64, 64, 1)), criterion, sgd(0.05)), batches(x, y, batch=512))


def _scaled(factor: float) -> Program:
    """The loss divided once more by every count that came to mind."""

    def criterion(out: Tensor, target: Tensor) -> Tensor:
        return factor * F.cross_entropy(out, target)

    net = small_cnn(12, activation=nn.LeakyReLU)
    return Program(Supervised(net, criterion, sgd(0.05, momentum=0.9)), batches(*pictures(), batch=32))


class Accumulated(pl.LightningModule):
    """Adds up 16 batches by hand before it steps, and may forget to divide by 16."""

    def __init__(self, *, divided: bool) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.share = 1 / 16 if divided else 1.0
        self.rnn, self.read = nn.RNN(6, 48, batch_first=True), nn.Linear(48, 6)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        optimizer: Any = self.optimizers()
        loss = F.cross_entropy(self.read(self.rnn(batch[0])[0][:, -1]), batch[0][:, -3].argmax(-1))
        self.manual_backward(loss * self.share)
        if batch_idx % 16 == 15:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return sgd(0.1, momentum=0.9)(self.parameters())


def _loss_of(module: pl.LightningModule, loader: Any) -> float:  # noqa: ANN401 - a loader
    x, y = loader.dataset.tensors
    return float(F.cross_entropy(module(x), y))


CASES = (
    Case(
        "step_that_kills",
        "SGD with a rate of 2 and momentum: the first steps throw a stack of rectifiers to where nothing is on.",
        lambda: _killed(2.0),
        lambda: _killed(0.02),
        answer("IM603 IM301 IM101 IM201 IM601", Remedy.SLOWER, by=20, beside=BLOWN_UP + " IM604 IM602"),
        steps=120,
        measured=(float("nan"), 0.561),
    ),
    Case(
        "transformer_rate",
        "A post-norm transformer with Adam at 0.1: all texts get one representation.",
        lambda: _transformer(0.1, norm_first=False),
        lambda: _transformer(1e-3, norm_first=False),
        answer("IM603 IM702 IM304 IM703", Remedy.SLOWER, by=60, beside=BLOWN_UP + " IM304"),
        steps=200,
        measured=(1.51, 0.0397),
    ),
    Case(
        "rmsprop_rate",
        "A GRU by RMSprop at 0.5, which fits plain SGD only.",
        lambda: Program(Recurrent(0.5), batches(*first_letter(), batch=64)),
        lambda: Program(Recurrent(5e-3), batches(*first_letter(), batch=64)),
        answer("IM603 IM303 IM703 IM101 IM201", Remedy.SLOWER, by=20, beside=BLOWN_UP),
        steps=200,
        measured=(6.45, 0.0313),
    ),
    Case(
        "rate_of_a_millionth",
        "A conv net by SGD at 1e-6, copied from somebody's fine-tuning: nothing happens.",
        lambda: _tiny_rate(1e-6),
        lambda: _tiny_rate(0.05),
        answer("IM603 IM604", Remedy.FASTER, by=60),
        steps=150,
        measured=(2.34, 0.141),
    ),
    Case(
        "adagrad_full_accumulator",
        "Adagrad at 1e-3 that starts with an accumulator of 10: its steps are a thousandth of what they should be.",
        lambda: _adagrad(1e-3, 10.0),
        lambda: _adagrad(3e-2, 0.0),
        answer("IM603 IM604", *[Remedy.FASTER, Remedy.EPS], by=100),
        steps=200,
        measured=(1.04, 0.0134),
    ),
    Case(
        "momentum_999",
        "A momentum of 0.999 at a rate of 0.05: the steps add up to fifty times the rate.",
        lambda: _momentum(0.999),
        lambda: _momentum(0.9),
        answer("IM603 IM802 IM101 IM201 IM601 IM301", *[Remedy.MOMENTUM, Remedy.SLOWER], by=100, beside=BLOWN_UP),
        steps=200,
        measured=(1.37, 0.101),
    ),
    Case(
        "sgd_weight_decay",
        "weight_decay=0.3 where 3e-4 was meant: SGD decays the weights away within 100 steps.",
        lambda: _decayed_by_sgd(0.3),
        lambda: _decayed_by_sgd(3e-4),
        answer("IM102 IM202 IM702 IM801 IM603 IM502", Remedy.WEIGHT_DECAY, by=150, beside=FADED),
        steps=200,
        measured=(2.3, 0.0234),
    ),
    Case(
        "adamw_weight_decay",
        "AdamW with weight_decay=50: a tenth of every weight goes at each step.",
        lambda: _decayed_by_adamw(50.0),
        lambda: _decayed_by_adamw(0.05),
        answer("IM102 IM202 IM702 IM801 IM603 IM502", Remedy.WEIGHT_DECAY, by=100, beside=FADED),
        steps=200,
        measured=(2.18, 0.0732),
    ),
    Case(
        "eps_of_one",
        "Adam with eps=1, from a configuration for Inception: it steps by the gradient, at a rate made for Adam.",
        lambda: _eps(1.0),
        lambda: _eps(1e-8),
        answer("IM603 IM604", *[Remedy.EPS, Remedy.FASTER], by=100, beside="IM202"),
        steps=200,
        measured=(0.68, 0.109),
    ),
    Case(
        "clipped_to_nothing",
        "SGD with a clip norm of 1e-7, taken for an eps.",
        lambda: _clipped(1e-7),
        lambda: _clipped(1.0),
        answer("IM604 IM603", Remedy.CLIP, by=10, beside="IM604 IM603", severity="critical"),
        steps=120,
        measured=(2.28, 0.0874),
    ),
    Case(
        "no_zero_grad",
        "Manual optimisation without zero_grad(): every step goes by the sum of all gradients so far.",
        lambda: Program(Manual(zeroed=False), batches(*rows(), batch=64)),
        lambda: Program(Manual(zeroed=True), batches(*rows(), batch=64)),
        answer(
            "IM603 IM802 IM101 IM201 IM601 IM301",
            *[Remedy.ZERO_GRADIENTS, Remedy.SLOWER],
            by=120,
            beside=BLOWN_UP,
        ),
        steps=200,
        measured=(2.78, 0.17),
    ),
    Case(
        "summed_loss",
        "The squared errors of a batch of 512 are summed, at a rate made for their mean.",
        lambda: _summed("sum"),
        lambda: _summed("mean"),
        answer(
            "IM603 IM802 IM101 IM201 IM601",
            *[Remedy.LOSS_SCALE, Remedy.SLOWER, Remedy.CLIP],
            by=20,
            beside=BLOWN_UP,
        ),
        steps=120,
        measured=(float("nan"), 0.3),
    ),
    Case(
        "loss_times_1e-7",
        "The loss is divided by the number of pixels, samples and classes once more: SGD barely moves.",
        lambda: _scaled(1e-7),
        lambda: _scaled(1.0),
        answer("IM603 IM604 IM202", *[Remedy.LOSS_SCALE, Remedy.FASTER], by=60, beside="IM202"),
        steps=150,
        score=_loss_of,
        measured=(2.3, 0.0423),
    ),
    Case(
        "accumulated_undivided",
        "Gradients of 16 batches are added up by hand and not divided by 16.",
        lambda: Program(Accumulated(divided=False), batches(*first_letter(4096), batch=8)),
        lambda: Program(Accumulated(divided=True), batches(*first_letter(4096), batch=8)),
        answer(
            "IM603 IM802 IM303 IM101 IM201",
            *[Remedy.LOSS_SCALE, Remedy.SLOWER, Remedy.CLIP],
            by=480,
            beside=BLOWN_UP,
        ),
        steps=60,
        measured=(91.4, 0.0154),
    ),
)
