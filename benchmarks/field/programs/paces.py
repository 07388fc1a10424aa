"""Steps that are too small for their loss: a rate that fades, an optimizer's own habits, formats that swallow them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.optim import lr_scheduler

from benchmarks.field.case import Case, Program, answer
from benchmarks.field.programs.base import Supervised, TextClassifier, adam, adamw, mlp, sgd, small_cnn
from benchmarks.field.programs.material import batches, chain, counted, function, pictures, rows
from benchmarks.field.programs.schedules import BLOWN_UP, Letters
from benchmarks.field.remedy import Remedy

if TYPE_CHECKING:
    from collections.abc import Iterable


def _exponential(interval: str) -> Program:
    def schedule(optimizer: torch.optim.Optimizer) -> Any:  # noqa: ANN401 - torch's schedules share no public base
        return lr_scheduler.ExponentialLR(optimizer, gamma=0.9)

    module = Supervised(mlp((8, 96, 96, 1), nn.SiLU), F.mse_loss, adam(3e-3), schedule, interval=interval)
    return Program(module, batches(*function(), batch=64))


def _long_warm_up(steps: int) -> Program:
    def schedule(optimizer: torch.optim.Optimizer) -> Any:  # noqa: ANN401 - torch's schedules share no public base
        return lr_scheduler.LambdaLR(optimizer, lambda i: min(1.0, (i + 1) / steps))

    module = Supervised(TextClassifier(24, 12, 5), F.cross_entropy, adamw(2e-3), schedule)
    return Program(module, batches(*counted(), batch=32))


def _adadelta(rate: float) -> Program:
    def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adadelta(parameters, lr=rate)

    return Program(Supervised(small_cnn(16), F.cross_entropy, optimizer), batches(*pictures(), batch=32))


def _long_memory(first: float) -> Program:
    module = Supervised(mlp((8, 64, 64, 1), nn.Tanh), F.mse_loss, adam(1e-2, betas=(first, 0.999)))
    return Program(module, batches(*function(), batch=64))


def _half(*, scaled: bool) -> Program:
    """A loss that a weight makes small goes back through a network in float16."""
    net = mlp((64, 96, 96, 10), nn.GELU).half()
    factor = 1.0 if scaled else 1e-6

    def criterion(out: Tensor, y: Tensor) -> Tensor:
        return factor * F.cross_entropy(out.float(), y)

    x, y = rows()
    module = Supervised(net, criterion, sgd(0.05, momentum=0.9))
    return Program(module, batches(x.half(), y, batch=64))


def _entropy(module: torch.nn.Module, loader: Any) -> float:  # noqa: ANN401 - a loader
    x, y = loader.dataset.tensors
    return float(F.cross_entropy(module(x).float(), y))


def _fine_tuned(precision: str) -> Program:
    """AdamW at 2e-5, as large networks are fine-tuned."""
    net = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 10))
    module = Supervised(net, lambda out, y: F.cross_entropy(out.float(), y), adamw(1e-4))
    return Program(module, batches(*rows(), batch=128), {"precision": precision})


def _shrinking(power: float) -> Program:
    """A rate that is divided by a power of the step."""

    def schedule(optimizer: torch.optim.Optimizer) -> Any:  # noqa: ANN401 - torch's schedules share no public base
        return lr_scheduler.LambdaLR(optimizer, lambda i: (1 + i) ** -power)

    return Program(Letters(schedule), batches(chain(), batch=32))


def _clipped(value: float) -> Program:
    module = Supervised(small_cnn(12), F.cross_entropy, sgd(0.05, momentum=0.9))
    options = {"gradient_clip_val": value, "gradient_clip_algorithm": "value"}
    return Program(module, batches(*pictures(), batch=64), options)


CASES = (
    Case(
        "exponential_decay_in_batches",
        "ExponentialLR(gamma=0.9), meant for epochs, is stepped with every batch.",
        lambda: _exponential("step"),
        lambda: _exponential("epoch"),
        answer("IM603 IM604", *[Remedy.SCHEDULE, Remedy.FASTER], by=200),
        steps=300,
        measured=(0.339, 0.209),
    ),
    Case(
        "warm_up_of_a_million",
        "A warm-up over a million steps, copied from a recipe for months of training.",
        lambda: _long_warm_up(1_000_000),
        lambda: _long_warm_up(50),
        answer("IM603 IM604", *[Remedy.SCHEDULE, Remedy.FASTER], by=150),
        steps=200,
        measured=(1.58, 0.0599),
    ),
    Case(
        "adadelta_at_a_thousandth",
        "Adadelta at the rate of Adam, 1e-3; its usual rate is 1.",
        lambda: _adadelta(1e-3),
        lambda: _adadelta(1.0),
        answer("IM603 IM604", Remedy.FASTER, by=150),
        steps=250,
        measured=(2.32, 0.0487),
    ),
    Case(
        "adam_remembers_too_long",
        "Adam with betas=(0.999, 0.999): a step is still the mean of the first gradients.",
        lambda: _long_memory(0.9998),
        lambda: _long_memory(0.9),
        answer("IM603 IM802 IM101 IM303 IM301", *[Remedy.MOMENTUM, Remedy.SLOWER], by=150, beside=BLOWN_UP),
        steps=300,
        measured=(0.187, 0.0798),
    ),
    Case(
        "small_loss_in_float16",
        "A network in float16 and a loss that a weight of 1e-6 makes small: gradients underflow to 0.",
        lambda: _half(scaled=False),
        lambda: _half(scaled=True),
        answer(
            "IM604 IM602 IM202 IM603",
            *[Remedy.DTYPE, Remedy.LOSS_SCALE],
            by=60,
            beside="IM202 IM603 IM602",
        ),
        steps=150,
        score=_entropy,
        measured=(2.3, 0.0341),
    ),
    Case(
        "fine_tuning_in_bfloat16",
        "AdamW at 1e-4 with all weights in bfloat16: what it adds is below half a place of them.",
        lambda: _fine_tuned("bf16-true"),
        lambda: _fine_tuned("bf16-mixed"),
        answer("IM603 IM604", *[Remedy.DTYPE, Remedy.FASTER], by=150),
        steps=250,
        measured=(1.11, 0.302),
    ),
    Case(
        "rate_over_the_step_squared",
        "The rate is divided by the square of the step, where its root was meant.",
        lambda: _shrinking(2.0),
        lambda: _shrinking(0.25),
        answer("IM603 IM604", *[Remedy.SCHEDULE, Remedy.FASTER], by=150),
        steps=250,
        measured=(3.18, 1.64),
    ),
    Case(
        "clipped_by_value",
        "gradient_clip_algorithm='value' with a value of 1e-6, taken for a norm's eps.",
        lambda: _clipped(1e-6),
        lambda: _clipped(0.5),
        answer("IM604 IM603", *[Remedy.CLIP, Remedy.FASTER], by=60),
        steps=150,
        measured=(2.31, 0.0366),
    ),
)
