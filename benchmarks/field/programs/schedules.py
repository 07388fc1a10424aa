"""The learning rate is not what the person thinks it is at this step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.optim import lr_scheduler

from benchmarks.field.case import Case, Program, answer
from benchmarks.field.programs.base import Learner, Supervised, TextClassifier, adam, adamw, mlp, sgd, small_cnn
from benchmarks.field.programs.material import batches, chain, counted, diabetes, function, pictures, waves
from benchmarks.field.remedy import Remedy

if TYPE_CHECKING:
    from benchmarks.field.programs.base import MakeSchedule

BLOWN_UP = "IM101 IM102 IM201 IM202 IM301 IM302 IM303 IM601 IM603 IM702 IM703"
"""What a rate that is far too large may leave behind."""


def _decayed_to_zero(interval: str) -> Program:
    """Decay to 0 over ten, which are epochs in the comment and batches in the program."""

    def schedule(optimizer: torch.optim.Optimizer) -> Any:  # noqa: ANN401 - torch's schedules share no public base
        return lr_scheduler.LambdaLR(optimizer, lambda i: max(0.0, 1 - i / 10))

    module = Supervised(small_cnn(16), F.cross_entropy, sgd(0.02, momentum=0.9), schedule, interval=interval)
    return Program(module, batches(*pictures(), batch=64))


def _stepped(interval: str) -> Program:
    """A tenth of the rate after every so many epochs, stepped with every batch."""

    def schedule(optimizer: torch.optim.Optimizer) -> Any:  # noqa: ANN401 - torch's schedules share no public base
        return lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.1)

    module = Supervised(TextClassifier(24, 12, 5), F.cross_entropy, adamw(2e-3), schedule, interval=interval)
    return Program(module, batches(*counted(), batch=32))


class Patient(Learner):
    """A regression whose schedule waits for a plateau: of the loss that is to fall, or is taken to be to rise."""

    def __init__(self, mode: str) -> None:
        super().__init__(adam(1e-2))
        self.mode = mode
        self.net = nn.LSTM(1, 24, batch_first=True)
        self.read = nn.Linear(24, 1)

    def loss(self, batch: list[Tensor]) -> Tensor:
        value = F.mse_loss(self.read(self.net(batch[0])[0][:, -1]), batch[1])
        self.log("loss", value, on_step=False, on_epoch=True)
        return value

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning takes several forms
        optimizer = adam(1e-2)(self.parameters())
        mode: Any = self.mode
        schedule = lr_scheduler.ReduceLROnPlateau(optimizer, mode=mode, patience=1, factor=0.05)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "loss"}}


def _integer_rate(rate: float) -> Program:
    """``rate = 1 // 100``, say, or an int() around what a configuration held."""
    return Program(Supervised(mlp((8, 64, 64, 1), nn.SiLU), F.mse_loss, adam(rate)), batches(*function(), batch=128))


class Letters(Learner):
    """A GRU that continues texts, with a rate that grows by a factor per step or does not."""

    def __init__(self, schedule: MakeSchedule | None) -> None:
        super().__init__(sgd(0.02, momentum=0.9), schedule)
        self.embedding, self.gru, self.head = nn.Embedding(24, 32), nn.GRU(32, 48, batch_first=True), nn.Linear(48, 24)

    def loss(self, batch: list[Tensor]) -> Tensor:
        (text,) = batch
        return F.cross_entropy(
            self.head(self.gru(self.embedding(text[:, :-1]))[0]).flatten(0, 1), text[:, 1:].flatten()
        )


def _range_test(optimizer: torch.optim.Optimizer) -> Any:  # noqa: ANN401 - torch's schedules share no public base
    return lr_scheduler.LambdaLR(optimizer, lambda i: 1.06**i)


def _held(optimizer: torch.optim.Optimizer) -> Any:  # noqa: ANN401 - torch's schedules share no public base
    return lr_scheduler.LambdaLR(optimizer, lambda i: min(1.06**i, 10.0))


def _one_cycle(peak: float) -> Program:
    """OneCycleLR ignores the optimizer's own rate: its peak is what counts."""

    def schedule(optimizer: torch.optim.Optimizer) -> Any:  # noqa: ANN401 - torch's schedules share no public base
        return lr_scheduler.OneCycleLR(optimizer, max_lr=peak, total_steps=200)

    x, y = diabetes()
    module = Supervised(mlp((10, 64, 64, 1), nn.Tanh), F.mse_loss, sgd(1e-2, momentum=0.9), schedule)
    return Program(module, batches(x, (y - y.mean()) / y.std(), batch=32))


CASES = (
    Case(
        "linear_decay_in_batches",
        "A decay to 0 over ten epochs is stepped with every batch: after ten batches the rate is 0 for good.",
        lambda: _decayed_to_zero("step"),
        lambda: _decayed_to_zero("epoch"),
        answer("IM603 IM604", Remedy.SCHEDULE, by=60),
        steps=150,
        measured=(2.3, 0.113),
    ),
    Case(
        "step_decay_in_batches",
        "StepLR(step_size=3, gamma=0.1) meant for epochs is stepped with every batch: 1e-18 after 45 of them.",
        lambda: _stepped("step"),
        lambda: _stepped("epoch"),
        answer("IM603 IM604", Remedy.SCHEDULE, by=60),
        steps=200,
        measured=(1.51, 0.0395),
    ),
    Case(
        "plateau_of_the_wrong_sign",
        'ReduceLROnPlateau(mode="max") watches a loss: the better it gets, the smaller the rate.',
        lambda: Program(Patient("max"), batches(*waves(512), batch=32)),
        lambda: Program(Patient("min"), batches(*waves(512), batch=32)),
        answer("IM603 IM604", *[Remedy.SCHEDULE, Remedy.LEARNING_RATE], by=200),
        steps=240,
        measured=(0.00756, 0.00088),
    ),
    Case(
        "rate_rounded_to_zero",
        "The rate of the configuration went through int(): it is 0, and nothing moves.",
        lambda: _integer_rate(0.0),
        lambda: _integer_rate(3e-3),
        answer("IM604 IM603", *[Remedy.LEARNING_RATE, Remedy.SCHEDULE], by=10, beside="IM604", severity="critical"),
        steps=120,
        measured=(0.992, 0.303),
    ),
    Case(
        "range_test_left_in",
        "The schedule of a learning-rate range test, 6 % more at every step, was left in the program.",
        lambda: Program(Letters(_range_test), batches(chain(), batch=32)),
        lambda: Program(Letters(_held), batches(chain(), batch=32)),
        answer("IM603 IM802 IM101 IM201 IM601", *[Remedy.SLOWER, Remedy.SCHEDULE], by=200, beside=BLOWN_UP),
        steps=200,
        measured=(1880.0, 1.19),
    ),
    Case(
        "one_cycle_peak",
        "OneCycleLR(max_lr=30): the person thought it was a factor; the rate of the optimizer is ignored.",
        lambda: _one_cycle(30.0),
        lambda: _one_cycle(0.03),
        answer("IM603 IM802 IM101 IM201 IM303", *[Remedy.SLOWER, Remedy.SCHEDULE], by=60, beside=BLOWN_UP),
        steps=200,
        measured=(float("nan"), 0.47),
    ),
)
