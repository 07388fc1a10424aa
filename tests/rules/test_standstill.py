"""IM604: nothing moves since the start, or nothing gets a gradient; and every cause by its own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from builders import history, linears, only, record
from models import Classifier, fit, loader, mlp
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from init_monitor import InitMonitor, Severity
from init_monitor.records import History, LossCurve, LossStretch
from init_monitor.records.quantities import Quantity
from init_monitor.rules import DEFAULT_RULES, Standstill
from init_monitor.rules.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytorch_lightning as pl

    from init_monitor import Finding

NAN = np.nan
NET = linears(3)


def columns(*, gradient: Any = 1.0, update: Any = 1e-3, arrived: Any = 1.0, **more: Any) -> dict[Quantity, Any]:
    """Return what a parameter column of a network that learns shows, with changes."""
    return {
        Quantity.WEIGHT_GRADIENT_NORM: gradient,
        Quantity.UPDATE_RATIO: update,
        Quantity.WEIGHT_NORM: 1.0,
        Quantity.WEIGHT_COUNT: 100.0,
        Quantity.TRAINABLE: 1.0,
        Quantity.GRADIENT_MEAN_SQUARE: arrived,
    } | {Quantity(name): value for name, value in more.items()}


def judge(one: dict[Quantity, Any], steps: int = 8, **fields: Any) -> list[Finding]:
    given = {"learning_rate": 0.1, "optimizer": "SGD"} | fields
    return list(Standstill().judge(history(NET, *[one] * steps, **given)))


def test_eight_steps_without_any_gradient_are_critical_and_seven_are_not_enough() -> None:
    still = columns(gradient=NAN, update=0.0, arrived=NAN)
    assert judge(still, 7) == []
    finding = only(judge(still))
    assert (finding.code, finding.rule, finding.severity, finding.layers) == (
        "IM604",
        "standstill",
        Severity.CRITICAL,
        (),
    )
    assert finding.step == 7
    assert "no parameter has a gradient" in finding.message
    assert ".item()" in finding.remedy


def test_a_network_that_learns_or_that_one_parameter_of_learns_is_left_alone() -> None:
    assert judge(columns()) == []
    assert judge(columns(gradient=[NAN, NAN, 1.0], update=[0.0, 0.0, 1e-3])) == []
    assert judge(columns(gradient=NAN, update=[0.0, 0.0, 1e-3])) == [], "a sparse gradient is not measured, but moves"


def test_a_warm_up_from_zero_moves_at_its_second_step_and_is_no_fault() -> None:
    past = [columns(update=0.0), *[columns(update=1e-9 * i) for i in range(1, 10)]]
    assert list(Standstill().judge(history(NET, *past, learning_rate=1e-9))) == []


def test_a_window_that_does_not_begin_at_the_start_is_not_judged() -> None:
    still = [columns(update=0.0)] * 12
    assert only(Standstill().judge(history(NET, *still, learning_rate=0.0))).code == "IM604"
    later = history(NET, *still, learning_rate=0.0)
    assert list(Standstill().judge(type(later)(later.records[2:], NET))) == []


def test_a_rate_of_zero_is_named_with_the_interval_that_lightning_wants() -> None:
    finding = only(judge(columns(update=0.0), learning_rate=0.0))
    assert "the learning rate is 0" in finding.message
    assert '"interval": "step"' in finding.remedy_code
    assert float(finding.evidence["learning_rate"]) == 0


def test_steps_that_a_gradient_scaler_skips_do_not_count() -> None:
    skipped = columns(gradient=NAN, update=0.0, weight_gradient_nonfinite_count=5.0)
    assert judge(skipped, 12, loss_scaled=True) == []
    assert judge(columns(gradient=NAN, update=0.0, weight_gradient_nonfinite_count=5.0), 12) == []


def test_a_gradient_that_is_clipped_to_nothing_is_told_from_a_rate_that_is_small() -> None:
    clipped = columns(gradient=[0.5, 2.0, 1.0], update=[1e-9, 2e-9, 1e-9])
    finding = only(judge(clipped))
    assert "Next to nothing has moved" in finding.message
    assert "Clip at a typical gradient norm" in finding.remedy
    assert judge(columns(update=1e-9), learning_rate=1e-9) == [], "that is what the rate gives; IM603 tells it"
    assert judge(columns(update=1e-5), learning_rate=0.1) == [], "clipping by a factor of ten thousand may be meant"
    adam = only(judge(columns(update=1e-9), optimizer="AdamW", learning_rate=1e-3))
    assert "eps" in adam.remedy
    assert judge(columns(update=1e-9), optimizer="Shampoo", learning_rate=1e-3) == [], "whose steps nobody knows"


@pytest.mark.parametrize(
    ("rate", "words"), [(1e-9, "it is rounded away"), (0.1, "The optimizer's step changes none of them")]
)
def test_what_does_not_move_at_all_is_rounded_away_or_not_stepped(rate: float, words: str) -> None:
    finding = only(judge(columns(update=0.0), learning_rate=rate))
    assert words in finding.message
    assert finding.severity is Severity.CRITICAL


def test_a_network_without_measured_parameters_says_nothing() -> None:
    past = [{Quantity.VARIANCE: 1.0}] * 10
    assert list(Standstill().judge(history(NET, *past, parameter_names=[]))) == []


def rated(rates: dict[int, float], losses: Any = ()) -> list[Finding]:
    curve = LossCurve()
    curve.add(LossStretch.of(enumerate(np.asarray(losses, np.float64).tolist())))
    records = [record(NET, columns(), step=step, learning_rate=rate) for step, rate in rates.items()]
    return list(Standstill().judge(History(records, NET, losses=curve)))


def test_a_schedule_that_is_used_up_long_before_the_end_is_a_warning() -> None:
    start = {i: 0.1 * (1 - i / 10) for i in range(10)}
    level, falling = 2.3 + 0 * np.arange(51.0), 2.3 * 0.95 ** np.arange(51.0)
    finding = only(rated({**start, 50: 0.0}, level))
    assert finding.severity is Severity.WARNING
    assert "schedule" in finding.remedy_sentence
    assert rated({**start, 50: 0.0}, falling) == [], "it is the end of a training that learned"
    assert rated({**start, 50: 0.0}) == [], "the loss is not known, and two samples are no stretch"
    assert only(rated({**start, 50: 0.0, 100: 0.0}, falling)).severity is Severity.WARNING
    assert rated({**start, 50: 1e-3, 100: 1e-4}, level) == [], "three steps of a tenth"
    warm = {i: 0.01 * i for i in range(10)}
    assert rated({**warm, 50: 0.1, 100: 0.1}, level) == [], "a warm-up from 0"


# --- real trainings --------------------------------------------------------------------------------------------------


def watched(module: pl.LightningModule, data: object | None = None, **options: Any) -> InitMonitor:
    monitor = InitMonitor(sinks=(), strict=True)
    fit(module, data or loader(16), monitor, steps=10, **options)
    return monitor


def loud(monitor: InitMonitor) -> list[str]:
    return [finding.code for finding in monitor.findings if finding.severity > Severity.INFO]


def output_off(activation: nn.Module) -> nn.Sequential:
    torch.manual_seed(3)
    net = mlp(1, 16)
    nn.init.constant_(net[-1].bias, -30.0)  # type: ignore[arg-type]
    return nn.Sequential(*net, activation)


class Clamp(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(0, 1)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize(
    "activation", [nn.ReLU(), nn.ReLU6(), Clamp(), nn.Hardtanh()], ids=lambda one: type(one).__name__
)
def test_an_activation_on_the_output_that_is_off_for_everything_is_to_be_taken_away(
    activation: nn.Module, optimizer: str
) -> None:
    monitor = watched(Classifier(output_off(activation), optimizer=optimizer))
    finding = only([one for one in monitor.findings if one.code == "IM604"])
    assert finding.step == 7
    assert finding.layers == ("net.3",)
    assert "net.3" in finding.remedy
    assert "Take it away: net.3" in finding.remedy_sentence


class Functional(nn.Module):
    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.net, self.change = output_off(nn.Identity()), change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.change(self.net(x))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (F.relu, "Take it away: the ReLU called in `net`"),
        (lambda x: x.clamp(0, 1), "If there is a clamp or another activation, remove it"),
        (torch.round, "round, argmax and comparisons are not differentiable"),
        (lambda x: x * 0, "a factor of 0"),
    ],
)
def test_what_is_called_as_a_function_is_named_where_it_can_be(
    change: Callable[[torch.Tensor], torch.Tensor], words: str
) -> None:
    monitor = watched(Classifier(Functional(change)))
    finding = only([one for one in monitor.findings if one.code == "IM604"])
    assert words in finding.remedy_sentence
    assert finding.severity is Severity.CRITICAL


def test_one_cause_gives_one_panel() -> None:
    monitor = watched(Classifier(Functional(torch.round)))
    assert loud(monitor) == ["IM604"]


class OneOutput(Classifier):
    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _batch_idx: int) -> torch.Tensor:
        return F.binary_cross_entropy(self(batch[0])[:, 0], (batch[1] > 4).float())


def test_a_softmax_over_one_output_is_a_constant() -> None:
    monitor = watched(OneOutput(nn.Sequential(*mlp(1, 16, classes=1), nn.Softmax(dim=1))))
    assert loud(monitor)[0] in {"IM503", "IM604"}
    monitor = InitMonitor(sinks=(), strict=True, rules=(Standstill(),))
    fit(OneOutput(nn.Sequential(*mlp(1, 16, classes=1), nn.Softmax(dim=1))), loader(16), monitor, steps=10)
    finding = only(monitor.findings)
    assert "a softmax over a single element is 1" in finding.message
    assert "an output per class" in finding.remedy


class Numbers(Classifier):
    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _batch_idx: int) -> torch.Tensor:
        return torch.tensor(super().training_step(batch, 0).item(), requires_grad=True)


def test_a_loss_of_numbers_is_not_connected() -> None:
    monitor = watched(Numbers(mlp(2, 16), optimizer="Adam"))
    assert loud(monitor) == ["IM604"]
    assert "The loss is not connected with the network" in monitor.findings[-1].message


class Frozen(Classifier):
    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _batch_idx: int) -> torch.Tensor:
        return super().training_step(batch, 0).requires_grad_()


def test_a_network_that_is_frozen_altogether_is_to_be_unfrozen() -> None:
    module = Frozen(mlp(2, 16))
    module.requires_grad_(requires_grad=False)
    monitor = watched(module)
    assert loud(monitor) == ["IM604"]
    assert "requires_grad" in monitor.findings[-1].remedy


class Scheduled(Classifier):
    """Warms up from 0 over five steps of its schedule."""

    interval = "epoch"

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(1.0, i / 5))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": self.interval}}


def test_a_warm_up_per_epoch_stands_still_and_one_per_step_does_not() -> None:
    data = loader(16, samples=2048)
    assert loud(watched(Scheduled(mlp(2, 16)), data)) == ["IM604"]
    module = Scheduled(mlp(2, 16))
    module.interval = "step"
    assert loud(watched(module, data)) == []


@pytest.mark.parametrize("clip", ["norm", "value"])
def test_sgd_with_a_tiny_clip_stands_still(clip: str) -> None:
    options = {"gradient_clip_val": 1e-7 if clip == "norm" else 1e-9, "gradient_clip_algorithm": clip}
    monitor = watched(Classifier(mlp(2, 16), lr=0.1), **options)
    assert loud(monitor) == ["IM604"]
    assert "Clip at a typical gradient norm" in monitor.findings[-1].remedy_sentence
    assert loud(watched(Classifier(mlp(2, 16), lr=0.1), gradient_clip_val=1.0)) == []


def test_the_default_rules_stay_silent_where_a_head_starts_at_zero() -> None:
    net = mlp(2, 16)
    nn.init.zeros_(net[-1].weight)  # type: ignore[arg-type]
    monitor = watched(Classifier(net, lr=0.1))
    assert "IM604" not in [finding.code for finding in monitor.findings]


def test_what_follows_from_a_standstill_is_not_told_beside_it() -> None:
    still = columns(gradient=0.0, update=0.0, arrived=0.0, saturated_fraction=1.0)
    past = history(NET, *[still] * 9, learning_rate=0.1, optimizer="SGD")
    assert [finding.code for finding in Engine(DEFAULT_RULES, strict=True).judge(past)] == ["IM604"]


class ByHand(Classifier):
    """Steps after ``every`` batches, by hand; ``looks`` leaves out a step whose gradient is not finite."""

    def __init__(self, every: int, *, broken: bool = False) -> None:
        super().__init__(nn.Linear(16, 10))
        self.automatic_optimization, self.every, self.broken = False, every, broken

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:  # type: ignore[override]
        optimizer = self.optimizers()
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.manual_backward(loss * (float("inf") if self.broken else 1.0))
        finite = all(bool(p.grad.isfinite().all()) for p in self.parameters() if p.grad is not None)
        if batch_idx % self.every == self.every - 1 and finite:
            optimizer.step()  # type: ignore[union-attr]
            optimizer.zero_grad()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("every", "broken", "cause"),
    [(1000, False, "the program has to step"), (1, True, "not finite"), (100, False, ""), (1, False, "")],
)
def test_an_optimizer_that_never_steps_by_hand_is_told_after_128_batches(
    every: int, cause: str, *, broken: bool
) -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(ByHand(every, broken=broken), loader(16, samples=200, batch=1), monitor, steps=-1, max_epochs=1)
    found = [one for one in monitor.findings if one.code == "IM604"]
    assert [cause in one.message for one in found] == ([True] if cause else [])
    if cause:
        assert found[0].severity is Severity.CRITICAL
        assert float(found[0].evidence["batches"]) == 128.0
        assert monitor.records[0].batches_waited == 128
    else:
        assert all(record.batches_waited == 0 for record in monitor.records)


class OwnOptimizer(Classifier):
    """Keeps its optimizer to itself: the Trainer knows of none, and the network learns all the same."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(16, 10))
        self.automatic_optimization = False
        self.own = torch.optim.SGD(self.net.parameters(), lr=0.1)

    def configure_optimizers(self) -> None:  # type: ignore[override]
        pass

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _batch_idx: int) -> None:  # type: ignore[override]
        self.own.zero_grad()
        self.manual_backward(nn.functional.cross_entropy(self(batch[0]), batch[1]))
        self.own.step()


@pytest.mark.filterwarnings("ignore:.*configure_optimizers.* returned .None.")
def test_an_optimizer_that_the_trainer_does_not_know_steps_too() -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    fit(OwnOptimizer(), loader(16, samples=140, batch=1), monitor, steps=-1, max_epochs=1)
    assert [one.code for one in monitor.findings if one.severity > Severity.INFO] == []
    assert monitor.records[0].batches_waited == 128
