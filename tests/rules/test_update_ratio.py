from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from builders import history, linear, linears, only, record
from hypothesis import given, strategies as st
from models import Classifier, fit, loader, mlp
from torch import nn

from init_monitor import InitMonitor, Severity, Structure, watch
from init_monitor.analysis.optimizers import optimizer_code
from init_monitor.records import Figure, Finding, History, LossCurve, LossStretch
from init_monitor.records.quantities import Quantity
from init_monitor.rules import UpdateRatio

NET = linears(3)
EVERY = 10


def past(*ratios: Any, every: int = EVERY, structure: Structure = NET, first: int = 0, **fields: Any) -> History:
    """One record per ratio (a number or one per weight), ``every`` steps apart; lists in ``fields`` go by record."""
    weights = {
        Quantity.WEIGHT_NORM: fields.pop("norm", 1.0),
        Quantity.TRAINABLE: fields.pop("trainable", 1.0),
        Quantity.WEIGHT_GRADIENT_NORM: fields.pop("gradient", 0.1),
    }
    records = []
    for i, ratio in enumerate(ratios):
        here = {name: value[i] if isinstance(value, list) else value for name, value in fields.items()}
        here = {"optimizer": "Adam", "learning_rate": 1e-3} | here
        given = {name: value[i] if isinstance(value, list) else value for name, value in weights.items()}
        records.append(record(structure, given | {Quantity.UPDATE_RATIO: ratio}, step=first + i * every, **here))
    return History(records, structure)


def judge(*ratios: Any, **fields: Any) -> list[Finding]:
    return list(UpdateRatio().judge(past(*ratios, **fields)))


def test_three_steps_that_replace_the_weights_are_a_warning_with_a_learning_rate_to_take() -> None:
    finding = only(judge(1.0, 0.6, 0.4, 0.2, 0.1, learning_rate=0.1))
    assert (finding.code, finding.rule, finding.severity) == ("IM603", "update-ratio", Severity.WARNING)
    assert finding.layers == ()
    assert finding.evidence["update_ratio"] == 0.6
    assert finding.message.startswith(
        "Adam at a learning rate of 0.1: In 3 of the last 5 sampled steps the median layer changed by 0.6 of its own size"
    )
    # 0.1 · 0.03 / 1.0, by the first of these steps: how many elements a weight has is not known here
    assert finding.remedy_code.startswith("import torch\n\noptimizer = torch.optim.Adam(model.parameters(), lr=0.003)")


def test_a_gradient_that_exploded_is_not_told_to_learn_at_a_rate_of_next_to_nothing() -> None:
    finding = only(judge(*[1e24] * 4, learning_rate=0.1))
    assert finding.remedy.startswith("No learning rate can offset a gradient of this size: first fix")
    assert finding.remedy_code == ""
    assert "lr=" in only(judge(*[3e3] * 4, learning_rate=0.1)).remedy_code


@pytest.mark.parametrize("ratios", [[1.0, 0.9, 0.2], [0.3] * 10, [0.2] * 10, [0.9] * 2 + [0.01] * 10])
def test_a_first_step_of_adam_and_one_spike_are_healthy(ratios: list[float]) -> None:
    assert judge(*ratios) == []


def test_it_holds_only_while_the_latest_records_show_it() -> None:
    assert judge(*[0.9] * 3, *[0.01] * 7)
    assert judge(*[0.9] * 3, *[0.01] * 8) == []


def test_weights_that_grew_tenfold_in_a_few_steps_make_it_critical() -> None:
    for grown, severity in ((9.9, Severity.WARNING), (10.0, Severity.CRITICAL)):
        finding = only(judge(0.5, 0.5, 0.5, norm=[1.0, 2.0, grown], every=1))
        assert finding.severity is severity
        assert ("In 2 steps the weights have become 10× as large." in finding.message) is (grown == 10.0)
    assert judge(*[0.1] * 3, norm=[1.0, 2.0, 10.0], every=10) == []  # twenty steps may do that


def test_one_step_that_overturned_everything_is_enough_although_nothing_moves_after_it() -> None:
    # Half of the weights started at zero, so that no ratio tells how far they went.
    norms = [[1.0, 0.0, 0.0], [1.0, 7.0, 7.5]]
    finding = only(judge([0.0, math.nan, math.nan], [0.0, 1e-9, 1e-9], norm=norms, every=1, learning_rate=1.0))
    assert finding.severity is Severity.CRITICAL
    assert finding.evidence["growth"] == pytest.approx(math.sqrt(1 + 49 + 56.25))
    assert finding.remedy_code.startswith("import torch\n\noptimizer = torch.optim.Adam(model.parameters(), lr=0.003)")


def test_the_median_layer_decides_so_that_one_odd_layer_does_not() -> None:
    assert judge(*[[0.01, 0.01, 5.0]] * 3) == []
    assert judge(*[[0.01, 5.0, 5.0]] * 3)
    pair = linears(2)
    assert judge(*[[0.01, 5.0]] * 3, structure=pair) == []  # of two, the smaller has to be too large
    assert judge(*[[1e-7, 1e-3]] * 9, structure=pair) == []  # and the larger too small


def test_what_started_at_zero_is_frozen_or_is_no_weight_does_not_count() -> None:
    assert judge(*[[5.0, 5.0, 0.01]] * 3, norm=[[0.0, 0.0, 1.0]] * 3) == []
    assert judge(*[[5.0, 5.0, 0.01]] * 3, trainable=np.array([0.0, 0.0, 1.0])) == []
    embedding = Structure((linear(0, "embedding", kind="Embedding"), linear(1, "head")))
    assert judge(*[[1e-7, 1e-3]] * 9, structure=embedding) == []
    assert judge(*[[1e-3, 1e-7]] * 9, structure=embedding)
    assert judge(*[[5.0, 5.0]] * 3, structure=NET, parameter_names=("net.0.bias", "factor")) == []


def test_too_small_updates_for_long_are_a_warning_with_a_learning_rate_to_take() -> None:
    finding = only(judge(*[1e-6] * 8, learning_rate=1e-7))
    assert (finding.code, finding.severity) == ("IM603", Severity.WARNING)
    assert "for 70 steps the median layer has changed by 1e-6 of its own size per step" in finding.message
    assert "it takes 1e6 steps" in finding.message
    assert finding.remedy_code.startswith("import torch\n\noptimizer = torch.optim.Adam(model.parameters(), lr=0.003)")


@pytest.mark.parametrize(
    ("count", "every", "ratio"),
    [(7, 10, 1e-7), (8, 2, 1e-7), (8, 10, 1e-5), (50, 10, 2e-5), (19, 1, 1e-7), (50, 1, 1e-4)],
)
def test_few_records_few_steps_and_small_but_sufficient_updates_say_nothing(
    count: int, every: int, ratio: float
) -> None:
    assert judge(*[ratio] * count, every=every) == []


def test_a_warm_up_is_left_alone_by_its_rise() -> None:
    rates = [1e-8 * (i + 1) for i in range(12)]
    assert judge(*[1e-6] * 12, learning_rate=rates) == []
    assert judge(*[1e-8 * (i + 1) for i in range(12)], learning_rate=math.nan) == []
    assert judge(*[1e-6 * (1 + i / 1000) for i in range(12)])  # a rise that is none
    assert judge(*[1e-6] * 12, learning_rate=1e-8)


def test_a_schedule_that_ends_at_zero_is_left_alone() -> None:
    tail = [1e-3] * 10 + [10.0**-i for i in range(4, 14)]
    assert judge(*tail, *[1e-9] * 10, learning_rate=[*tail, *[1e-9] * 10]) == []
    late = [1e-6 / (i + 1) for i in range(20)]
    assert judge(*late, learning_rate=[x * 10 for x in late], first=50_000) == []
    assert judge(*late, learning_rate=[x * 10 for x in late])  # from the first step on it was too small


def test_a_network_that_has_converged_is_not_told_to_hurry() -> None:
    assert judge(*[1e-2] * 3, *[1e-7] * 12) == []
    # With ‖g‖/‖w‖ = 1e-3, plain gradient descent would need a rate of 3 for a healthy update.
    assert judge(*[1e-7] * 12, optimizer="SGD", gradient=1e-3) == []
    assert judge(*[1e-7] * 12, optimizer="SGD", gradient=1e-2)
    assert judge(*[1e-7] * 12, optimizer="Adam", gradient=1e-3)


def test_a_gradient_that_was_lost_on_the_way_is_told_without_a_rate() -> None:
    finding = only(judge(*[1e-12] * 12, optimizer="SGD", gradient=1e-8))
    assert "The gradient is 1e-8 of the size of the weights" in finding.message
    assert "what the loss is divided by" in finding.remedy
    assert finding.remedy_code == ""
    assert judge(*[1e-12] * 12, optimizer="SGD", gradient=1e-8, first=5000) == []


def test_of_two_optimizers_the_slow_one_is_seen_beside_the_fast_one() -> None:
    finding = only(judge(*[[1e-9, 1e-9, 1e-2]] * 12, optimizer="SGD, SGD", learning_rate=0.1))
    assert finding.remedy_code == ""


def test_steps_that_moved_nothing_do_not_count() -> None:
    assert judge(*[0.0] * 12, stepped=False, learning_rate=0.0) == []
    assert judge(*[0.0] * 12) == []
    assert judge(*[math.nan] * 12) == []
    assert list(UpdateRatio().judge(history(NET, {}))) == []
    assert list(UpdateRatio().judge(history(Structure(), {}))) == []


def half(*dtypes: str) -> Structure:
    return Structure(tuple(replace(layer, dtype=dtype) for layer, dtype in zip(NET.layers, dtypes, strict=True)))


def test_updates_that_bfloat16_rounds_away_are_told_with_the_format_or_the_rate() -> None:
    still = [[0.0, 0.0, 1e-7]] * 8
    finding = only(judge(*still, structure=half(*["bfloat16"] * 3), learning_rate=1e-4))
    assert finding.severity is Severity.WARNING
    assert "for 70 steps the median layer has not changed at all, although there is a gradient" in finding.message
    assert finding.remedy_code == 'trainer = pl.Trainer(precision="bf16-mixed")'
    # Plain gradient descent would not get anywhere in float32 either: 1e-6 of 0.1 of the weights' size.
    slow = only(judge(*still, structure=half(*["bfloat16"] * 3), optimizer="SGD", learning_rate=1e-6, gradient=0.1))
    assert slow.remedy_code.startswith("import torch\n\noptimizer = torch.optim.SGD(model.parameters(), lr=0.1)")


@pytest.mark.parametrize(
    ("ratios", "more"),
    [
        ([[0.0, 0.0, 1e-7]] * 7, {}),
        ([[0.0, 0.0, 1e-2]] * 8, {}),  # a layer learns
        ([[0.0, 1e-7, 1e-7]] * 8, {}),  # too small, but for another reason
        ([[0.0, 0.0, 1e-7]] * 8, {"structure": half("bfloat16", "bfloat16", "float32")}),
        ([[0.0, 0.0, 1e-7]] * 8, {"structure": NET}),
        ([[0.0, 0.0, 1e-7]] * 8, {"gradient": 0.0}),
        ([[0.0, 0.0, 1e-7]] * 8, {"learning_rate": 0.0}),
        ([[0.0, 0.0, 1e-7]] * 8, {"loss_scaled": True}),
        ([[0.0, 0.0, 1e-7]] * 8, {"every": 2}),
    ],
)
def test_other_weights_that_do_not_move_are_not_called_rounded(ratios: list[Any], more: dict[str, Any]) -> None:
    found = judge(*ratios, **{"structure": half(*["bfloat16"] * 3), "learning_rate": 1e-4} | more)
    assert not any("rounded away" in finding.message for finding in found)


@pytest.mark.untraced
def test_a_real_training_in_bfloat16_whose_updates_are_lost_is_told_why_and_its_twin_in_float32_is_not() -> None:
    def finding(dtype: torch.dtype) -> Finding:
        torch.manual_seed(0)
        net = mlp(3, 64).to(dtype)
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
        x, y = torch.randn(64, 64, dtype=dtype), torch.randint(0, 10, (64,))
        with watch(net, optimizer=optimizer, sinks=(), strict=True, rules=(UpdateRatio(),), dense_steps=30) as m:
            for _ in range(30):
                with m.step():
                    optimizer.zero_grad()
                    torch.nn.functional.cross_entropy(net(x), y).backward()
                    optimizer.step()
        return only(m.findings)

    assert "bfloat16 tells numbers apart to 0.00781 of their size" in finding(torch.bfloat16).message
    assert "has changed by" in finding(torch.float32).message
    rate = re.compile(r"lr=(\S+)\)")
    told = [float(rate.findall(finding(dtype).remedy_code)[0]) for dtype in (torch.bfloat16, torch.float32)]
    # It cannot be read off the updates, of which there are none, but off the gradient.
    assert told[0] == pytest.approx(told[1], rel=1.0)


def test_an_unknown_optimizer_gets_words_and_no_code() -> None:
    finding = only(judge(1.0, 1.0, 1.0, optimizer="Shampoo", learning_rate=1.0))
    assert finding.remedy_code == ""
    assert "about 0.03" in finding.remedy
    assert only(judge(1.0, 1.0, 1.0, learning_rate=math.nan)).remedy_code == ""
    assert optimizer_code("SGD", math.nan) == ""


@given(st.lists(st.floats(1e-4, 0.3), min_size=1, max_size=40))
def test_updates_in_the_range_of_learning_are_never_mentioned(ratios: list[float]) -> None:
    assert judge(*ratios) == []


@given(st.floats(0.31, 1e6), st.integers(3, 20))
def test_updates_that_stay_too_large_are_always_mentioned(ratio: float, count: int) -> None:
    assert len(judge(*[ratio] * count)) == 1


def trained(optimizer: str, lr: float, *, steps: int = 70) -> list[Finding]:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True, every_n_steps=5, rules=(UpdateRatio(),))
    module = Classifier(mlp(2, 16), lr=lr, optimizer=optimizer)
    fit(module, loader(16, samples=64), monitor, steps=steps)
    measured = [r.parameters["net.0.weight"].update_ratio for r in monitor.records]
    assert all(ratio > 0 for ratio in measured)
    return monitor.findings


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("optimizer", "faulty", "healthy", "words"),
    [("Adam", 1.0, 1e-3, "last"), ("Adam", 1e-8, 1e-3, "for "), ("SGD", 1e-7, 1e-2, "for ")],
)
def test_a_real_training_at_a_hopeless_learning_rate_fires_and_its_twin_is_silent(
    optimizer: str, faulty: float, healthy: float, words: str
) -> None:
    finding = trained(optimizer, faulty)[0]
    assert words in finding.message
    suggested = float(finding.remedy_code.partition("lr=")[2].partition(")")[0])
    assert 1e-5 < suggested < 1
    assert trained(optimizer, suggested) == []
    assert trained(optimizer, healthy) == []


def test_a_slower_rule_can_be_asked_for() -> None:
    rule = replace(UpdateRatio(), too_small=1e-3)
    assert list(rule.judge(past(*[5e-4] * 8)))


def test_updates_that_nothing_came_of_are_too_small_where_they_would_be_careful_otherwise() -> None:
    careful = past(*[5e-5] * 12, learning_rate=1e-5)
    rising = past(*[1e-7 * i for i in range(1, 13)], learning_rate=1e-6, optimizer="SGD")
    steps = np.arange(110)

    def told(history: History, values: Any) -> list[Finding]:
        curve = LossCurve()
        curve.add(LossStretch.of(enumerate(np.asarray(values, np.float64).tolist())))
        return list(UpdateRatio().judge(replace(history, losses=curve)))

    for seen in (careful, rising):
        assert told(seen, 2 * 0.97**steps) == []
        assert told(seen, []) == []
        assert only(told(seen, 2.0 + 1e-3 * (steps % 3))).severity is Severity.WARNING


def test_one_step_alone_is_told_where_the_loss_has_stood_since() -> None:
    steps = np.arange(70)
    ratios = [0.17, *[5e-4] * 7]

    def told(values: Any, *given: float) -> list[Finding]:
        curve = LossCurve()
        curve.add(LossStretch.of(enumerate(np.asarray(values, np.float64).tolist())))
        return list(UpdateRatio().judge(replace(past(*given, optimizer="SGD"), losses=curve)))

    finding = only(told(2.3 + 1e-3 * (steps % 3), *ratios))
    assert finding.message.startswith("Step 0 changed the median layer by 0.17 of its own size, 340× as much")
    assert finding.evidence["update_ratio"] == 0.17
    assert "Look at what made step 0 so large" in finding.remedy
    assert told(2.3 * 0.97**steps, *ratios) == [], "it learns all the same"
    assert told(2.3 + 1e-3 * (steps % 3), 0.17, 0.04, 0.01, *[5e-3] * 5) == [], "a first step of Adam is not alone"
    wake = told(2.3 + 1e-3 * (steps % 3), 0.04, 0.004, 0.001, *[1e-4] * 7)
    assert only(wake).evidence["at_step"] < 1, "what such a step made of the gradient lasts for some"
    assert told(2.3 + 1e-3 * (steps % 3), 0.02, *[1e-4] * 7) == [], "a step of that size fits"


def test_in_a_training_a_schedule_that_begins_too_high_and_falls_at_once_is_told() -> None:
    def trained(factor: float) -> list[Finding]:
        class Falling(Classifier):
            def configure_optimizers(self) -> Any:
                optimizer = torch.optim.SGD(self.parameters(), lr=0.05)
                schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step else factor)
                return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

        torch.manual_seed(0)
        hidden = [nn.Conv2d(1, 16, 3, padding=1), nn.Tanh(), nn.Conv2d(16, 16, 3, padding=1), nn.Tanh()]
        net = nn.Sequential(nn.Unflatten(1, (1, 4, 4)), *hidden, nn.Flatten(), nn.Linear(256, 4))
        x = torch.randn(512, 16)
        rows = torch.utils.data.TensorDataset(x, torch.randint(0, 4, (512,)))
        monitor = InitMonitor(sinks=(), rules=(UpdateRatio(),))
        fit(Falling(net), torch.utils.data.DataLoader(rows, batch_size=512), monitor, steps=120)
        return [one for one in monitor.findings if one.severity > Severity.INFO]

    finding = only(trained(200.0))
    assert "Its learning rate was 10, and is 0.05 now" in finding.message
    assert "A schedule that begins too high" in finding.remedy
    given = finding.remedy_code.partition("lr=")[2].partition(")")[0]
    assert 0.01 <= float(given) <= 1, "what fits, neither the 10 that it began with nor a clip that leaves it"
    assert trained(1.0) == []


@pytest.mark.parametrize(("step", "follows"), [(0, True), (3, True), (4, False)])
def test_one_step_alone_follows_from_what_was_there_before_it_only(step: int, *, follows: bool) -> None:
    structure = Structure((linear(0, "a"),))
    alone = Finding("update-ratio", "IM603", Severity.WARNING, (), 60, "…", {"at_step": Figure(4, "")})
    cause = Finding("exploding-activations", "IM101", Severity.WARNING, ("a",), step, "…")
    assert UpdateRatio().comes_of(alone, cause, structure) is follows


@pytest.mark.untraced
@pytest.mark.parametrize(("rate", "epsilon"), [(1e-3, 1.0), (0.1, 10.0), (1e-3, 1e3)])
def test_an_epsilon_that_swallows_adams_steps_is_named_and_no_rate_is_blamed(rate: float, epsilon: float) -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=())
    fit(Swallowed(rate, epsilon), loader(64), monitor, steps=120)
    (finding,) = [one for one in monitor.findings if one.code in {"IM603", "IM604"}]
    assert "eps" in finding.message + finding.remedy
    assert "eps=1e-08" in finding.remedy_code
    # at a rate that was raised to make up for it, the default epsilon would replace the weights
    advised = float(re.search(r"lr=([0-9.e-]+)", finding.remedy_code)[1])  # type: ignore[index]
    assert advised <= rate
    fixed = InitMonitor(sinks=())
    fit(Swallowed(advised, 1e-8), loader(64), fixed, steps=120)
    assert not [one for one in fixed.findings if one.severity > Severity.INFO]


@pytest.mark.parametrize("kind", ["Adagrad", "RMSprop", "NAdam", "Adamax"])
def test_so_is_that_of_optimizers_of_its_kind(kind: str) -> None:
    class Other(Swallowed):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            made: torch.optim.Optimizer = getattr(torch.optim, kind)(self.parameters(), lr=self.rate, eps=self.epsilon)
            return made

    def told(epsilon: float) -> list[Finding]:
        torch.manual_seed(0)
        monitor = InitMonitor(sinks=())
        fit(Other(1e-3, epsilon), loader(64), monitor, steps=120)
        return [one for one in monitor.findings if one.code in {"IM603", "IM604"}]

    (finding,) = told(100.0)
    assert "eps=" in finding.remedy_code
    assert told(1e-8) == []


def test_a_short_first_step_that_the_rate_explains_is_no_epsilons() -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=())
    fit(Swallowed(1e-8, 1e-8), loader(64), monitor, steps=120)
    (finding,) = [one for one in monitor.findings if one.code == "IM603"]
    assert "its eps" not in finding.message
    assert "eps=" not in finding.remedy


class Swallowed(Classifier):
    """A network whose gradient is small beside the epsilon that its optimizer is given."""

    def __init__(self, rate: float, epsilon: float) -> None:
        super().__init__(mlp(3, 64))
        self.rate, self.epsilon = rate, epsilon

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.rate, eps=self.epsilon)


def told_of(values: Any, history: History) -> list[Finding]:
    curve = LossCurve()
    curve.add(LossStretch.of(enumerate(np.asarray(values, np.float64).tolist())))
    return list(UpdateRatio().judge(replace(history, losses=curve)))


def test_first_steps_above_what_is_usual_are_told_where_the_loss_never_came_below_its_start() -> None:
    steps = np.arange(111)
    level = 2.35 + 2e-3 * (steps % 3)
    level[0] = 2.3
    # ten records of the dense start, then one every fifty steps
    first = [0.19, 0.14, 0.11, *[0.05] * 7]
    dense = past(*first, every=1, optimizer="AdamW")
    later = past(0.01, 0.003, 0.003, every=50, first=10, optimizer="AdamW")
    history = replace(dense, records=(*dense.records, *later.records))
    finding = only(told_of(level, history))
    assert "In 3 of the first 10 sampled steps the median layer changed by 0.14 of its own size" in finding.message
    assert "Lower the learning rate" in finding.remedy
    below = np.concatenate([level[:1], level[1:] - 0.2])
    assert told_of(below, history) == [], "below its first loss"
    assert told_of(2.3 * 0.98**steps, history) == []
    once = past(0.19, *[0.05] * 9, every=1, optimizer="AdamW")
    assert told_of(level, replace(once, records=(*once.records, *later.records))) == [], "Adam's first step"
    assert told_of(level[:60], replace(history, records=history.records[:12])) == [], "too early to tell"


class Squared(Classifier):
    """Learns one-hot targets by the mean squared error behind a sigmoid."""

    def training_step(self, batch: Any, _batch_idx: int) -> torch.Tensor:
        wanted = nn.functional.one_hot(batch[1], 5).float()
        return nn.functional.mse_loss(torch.sigmoid(self(batch[0])), wanted)


def creeping(rate: float) -> list[Finding]:
    torch.manual_seed(0)
    # Three of ten columns are on: the first thing to learn is how rarely an output is.
    x = (torch.rand(512, 40) < 0.3).float()
    labels = (x @ torch.randn(40, 5)).argmax(1)
    rows = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=512)
    net = nn.Sequential(nn.Linear(40, 48), nn.Tanh(), nn.Linear(48, 5))
    monitor = InitMonitor(sinks=())
    fit(Squared(net, lr=rate), rows, monitor, steps=260)
    return [one for one in monitor.findings if one.severity > Severity.INFO]


def test_in_a_training_a_loss_that_creeps_at_a_rate_far_below_what_fits_is_told() -> None:
    finding = only(creeping(4e-3))
    assert "the loss creeps" in finding.message
    assert "Raise the learning rate" in finding.remedy
    better = float(finding.remedy_code.partition("lr=")[2].partition(")")[0])
    assert better >= 0.4
    assert creeping(better) == []
    assert creeping(0.1) == [], "slow, but the weights have gone some way"


def noisy(rate: float) -> list[Finding]:
    torch.manual_seed(0)
    x = torch.randn(512, 10)
    wanted = x[:, :2] + torch.randn(512, 2)
    rows = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, wanted), batch_size=1)
    net = nn.Sequential(nn.Linear(10, 48), nn.Tanh(), nn.Linear(48, 2))
    monitor = InitMonitor(sinks=())
    fit(Distance(net, lr=rate, optimizer="Adam"), rows, monitor, steps=150)
    return [one for one in monitor.findings if one.severity > Severity.INFO]


class Distance(Classifier):
    """Minimises the squared distance to targets."""

    def training_step(self, batch: Any, _batch_idx: int) -> torch.Tensor:
        return nn.functional.mse_loss(self(batch[0]), batch[1])


@pytest.mark.untraced
def test_in_a_training_a_rate_far_below_what_fits_is_told_where_the_loss_is_too_noisy_to_show_it() -> None:
    finding = only(noisy(4e-6))
    assert "the loss does not fall by more than its noise" in finding.message
    assert "Raise the learning rate" in finding.remedy
    assert float(finding.remedy_code.partition("lr=")[2].partition(")")[0]) >= 1e-4
    assert noisy(1e-3) == []


def test_in_a_training_that_goes_on_from_what_it_learned_a_careful_rate_is_not_told_behind_a_noisy_loss() -> None:
    torch.manual_seed(0)
    x = torch.randn(1792, 64)
    labels = (x @ torch.randn(64, 10)).argmax(1)
    rows = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=32, shuffle=True)
    net = nn.Sequential(nn.Linear(64, 96), nn.GELU(), nn.Linear(96, 10))
    fit(Classifier(net, lr=3e-3, optimizer="Adam"), rows, InitMonitor(sinks=()), steps=120)
    monitor = InitMonitor(sinks=())
    fit(Classifier(net, lr=1e-5, optimizer="Adam"), rows, monitor, steps=150)
    assert [one for one in monitor.findings if one.code == "IM603" and one.severity > Severity.INFO] == []
