"""What goes in, or what is to come out, is on a scale the network was not made for, or says nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.field.case import Case, Program, answer
from benchmarks.field.programs.base import Learner, Supervised, adam, adamw, mlp, sgd, share_missed, small_cnn
from benchmarks.field.programs.material import (
    batches,
    diabetes,
    function,
    grey_pictures,
    pictures,
    raw_cancer,
    waves,
    wine,
)
from benchmarks.field.remedy import Remedy

FURTHER_DOWN = "IM101 IM201 IM601 IM603 IM703 IM301"
"""What a raw scale does to the rest of the network, which may be said after its cause."""


def _pixels(*, raw: bool) -> Program:
    x, y = grey_pictures()
    images = x / 16 * 255
    if not raw:
        images = (images - images.mean()) / images.std()
    return Program(Supervised(small_cnn(16), F.cross_entropy, sgd(0.02, momentum=0.9)), batches(images, y, batch=32))


def _raw_table(*, raw: bool) -> Program:
    """Thirty measurements from 1e-3 to 4e3."""
    x, y = raw_cancer()
    if not raw:
        x = (x - x.mean(0)) / x.std(0)
    module = Supervised(mlp((30, 32, 16, 1), nn.Tanh), F.binary_cross_entropy_with_logits, adam(3e-3))
    return Program(module, batches(x, y, batch=16))


def _salary(*, raw: bool) -> Program:
    """One column of a table in whole euros, beside thirteen of size one."""
    x, y = wine()
    salary = 5e5 + 3e5 * torch.randn(len(x), 1, generator=torch.Generator().manual_seed(8))
    if not raw:
        salary = (salary - salary.mean()) / salary.std()
    module = Supervised(mlp((14, 48, 48, 3)), F.cross_entropy, adamw(1e-3))
    return Program(module, batches(torch.cat([x, salary], 1), y, batch=32))


class Forecast(Learner):
    """The next value of a curve from the values so far and the time of each."""

    def __init__(self) -> None:
        super().__init__(adam(5e-3))
        self.gru, self.read = nn.GRU(2, 32, batch_first=True), nn.Linear(32, 1)

    def loss(self, batch: list[Tensor]) -> Tensor:
        return F.mse_loss(self.read(self.gru(batch[0])[0][:, -1]), batch[1])


def _timed(*, raw: bool) -> Program:
    x, y = waves()
    time = torch.arange(24.0).view(1, 24, 1).expand(len(x), -1, -1)
    time = 1.7e9 + 3600 * time if raw else time / 12 - 1
    return Program(Forecast(), batches(torch.cat([x, time], -1), y, batch=64))


def _prices(*, raw: bool) -> Program:
    """A target of tens of thousands."""
    x, y = function()
    module = Supervised(mlp((8, 64, 64, 1)), F.mse_loss, sgd(0.02, momentum=0.9))
    return Program(module, batches(x, 2e4 + 1e4 * y if raw else y, batch=64))


def _one_sample(*, repeated: bool) -> Program:
    """``images[0]`` for ``images[index]`` in the data set."""
    x, y = pictures()
    if repeated:
        x = x[:1].expand(len(x), -1, -1, -1).contiguous()
    return Program(Supervised(small_cnn(16), F.cross_entropy, adam(2e-3)), batches(x, y, batch=64))


class Oscillation(Learner):
    """A network that has to obey x'' = -4 x with x(0) = 1 and x'(0) = 0, over times that are scaled or not.

    Args:
        raw: give it the time in milliseconds, from 0 to 2000.
    """

    def __init__(self, *, raw: bool) -> None:
        super().__init__(adam(5e-3))
        self.unit = 1000.0 if raw else 1.0
        self.net = mlp((1, 48, 48, 1), nn.Tanh)

    def forward(self, t: Tensor) -> Tensor:
        out: Tensor = self.net(t)
        return out

    def loss(self, batch: list[Tensor]) -> Tensor:
        t = (batch[0] * self.unit).requires_grad_()
        x = self.net(t)
        (speed,) = torch.autograd.grad(x.sum(), t, create_graph=True)
        (force,) = torch.autograd.grad(speed.sum(), t, create_graph=True)
        start = torch.zeros(1, 1, requires_grad=True)
        x0 = self.net(start)
        (speed0,) = torch.autograd.grad(x0.sum(), start, create_graph=True)
        equation = (force * self.unit**2 / 4 + x).square().mean()
        total: Tensor = equation + 10 * (x0 - 1).square().mean() + (speed0 * self.unit / 2).square().mean()
        return total


def _time() -> Tensor:
    return 2 * torch.rand(1024, 1, generator=torch.Generator().manual_seed(9))


def _error_of_oscillation(module: Oscillation) -> float:
    t = torch.linspace(0, 2, 101)[:, None]
    return float((module(t * module.unit) - torch.cos(2 * t)).square().mean())


def _bounded(*, bounded: bool) -> Program:
    """A number from 25 to 346 behind a sigmoid, or standardised and behind nothing."""
    x, y = diabetes()
    layers = [*mlp((10, 32, 32, 1)), *([nn.Sigmoid()] if bounded else [])]
    y = y if bounded else (y - y.mean()) / y.std()
    return Program(Supervised(nn.Sequential(*layers), F.mse_loss, adam(5e-3)), batches(x, y, batch=32))


CASES = (
    Case(
        "pixels_to_255",
        "A conv net gets pixels from 0 to 255.",
        lambda: _pixels(raw=True),
        lambda: _pixels(raw=False),
        answer("IM701", Remedy.INPUT, by=10, beside=FURTHER_DOWN),
        steps=150,
        measured=(2.3, 0.103),
    ),
    Case(
        "raw_table",
        "A table of thirty measurements from 1e-3 to 4e3 goes in as it is, into tanh.",
        lambda: _raw_table(raw=True),
        lambda: _raw_table(raw=False),
        answer("IM701", Remedy.INPUT, by=10, beside=FURTHER_DOWN + " IM303"),
        steps=200,
        measured=(0.405, 0.0333),
    ),
    Case(
        "one_column_of_euros",
        "One column of a table is a salary in euros; the others are standardised.",
        lambda: _salary(raw=True),
        lambda: _salary(raw=False),
        answer("IM701", Remedy.INPUT, by=10, beside=FURTHER_DOWN),
        steps=150,
        measured=(254.0, 0.0264),
    ),
    Case(
        "unix_time",
        "A GRU gets the time of each value in seconds since 1970, so that every gate is shut or open.",
        lambda: _timed(raw=True),
        lambda: _timed(raw=False),
        answer("IM701", Remedy.INPUT, by=10, beside=FURTHER_DOWN + " IM303 IM602 IM702"),
        steps=200,
        measured=(0.498, 0.00206),
    ),
    Case(
        "time_in_milliseconds",
        "A network that is to obey an equation of motion gets the time in milliseconds.",
        lambda: Program(Oscillation(raw=True), batches(_time(), batch=128)),
        lambda: Program(Oscillation(raw=False), batches(_time(), batch=128)),
        answer("IM701", Remedy.INPUT, by=10, beside=FURTHER_DOWN + " IM303 IM702"),
        steps=250,
        score=lambda module, _: _error_of_oscillation(module),  # type: ignore[arg-type]
        measured=(0.702, 0.138),
    ),
    Case(
        "targets_in_tens_of_thousands",
        "A price of 20,000 is to be met with SGD; the squared errors blow the network up.",
        lambda: _prices(raw=True),
        lambda: _prices(raw=False),
        answer(
            "IM603 IM601 IM201 IM101 IM802 IM703",
            Remedy.TARGET,
            by=20,
            beside=FURTHER_DOWN + " IM301 IM302",
        ),
        steps=120,
        score=share_missed,
        measured=(float("nan"), 0.264),
    ),
    Case(
        "sigmoid_before_a_score",
        "A score from 25 to 346 is to come out of a sigmoid, which saturates at 1.",
        lambda: _bounded(bounded=True),
        lambda: _bounded(bounded=False),
        answer(
            "IM303 IM503 IM604 IM202",
            *[Remedy.OUTPUT_ACTIVATION, Remedy.TARGET],
            by=100,
            beside="IM202 IM602 IM603 IM702",
        ),
        steps=200,
        score=share_missed,
        measured=(4.84, 0.367),
    ),
    Case(
        "always_the_first_picture",
        "The data set returns images[0] whatever the index: every sample is the same, the labels are not.",
        lambda: _one_sample(repeated=True),
        lambda: _one_sample(repeated=False),
        answer("IM702", Remedy.DATA, by=60, beside="IM701"),
        steps=120,
        measured=(2.3, 0.136),
    ),
)
