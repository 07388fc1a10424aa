"""Between the sampled steps the signs of rectifiers are looked at, until enough positions were seen for a verdict."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import torch
from models import Classifier, fit
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

import init_monitor
from init_monitor import InitMonitor
from init_monitor.capture.sign_looks import ENOUGH
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.untraced

WIDTH = 64
DEAD = 26  # 40 %


class Functional(nn.Module):
    """Calls its activation as a function; two linear layers before the output."""

    def __init__(self, *, dead: int = DEAD, one: bool = False, recomputed: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(16, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 4)
        self.act: Callable[[torch.Tensor], torch.Tensor] = nn.ReLU() if one else functional.relu
        self.recomputed = recomputed
        if dead:
            with torch.no_grad():
                self.second.bias[:dead] = -30.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.first(x))
        x = self.act(checkpoint(self.second, x, use_reentrant=False) if self.recomputed else self.second(x))
        output: torch.Tensor = self.head(x)
        return output


def plain(*, dead: int = DEAD, dropout: float = 0.0) -> nn.Sequential:
    second = nn.Linear(WIDTH, WIDTH)
    with torch.no_grad():
        second.bias[:dead] -= 30.0
    return nn.Sequential(nn.Linear(16, WIDTH), nn.ReLU(), nn.Dropout(dropout), second, nn.ReLU(), nn.Linear(WIDTH, 4))


def sparse() -> nn.Sequential:
    """Return a layer of 256 units, each of which fires on one sample in 25."""
    first = nn.Linear(16, 256)
    nn.init.normal_(first.weight, std=16**-0.5)
    nn.init.constant_(first.bias, -1.75)
    return nn.Sequential(first, nn.ReLU(), nn.Linear(256, 4))


def batches(size: int, count: int = 200) -> DataLoader[tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(size * count, 16, generator=generator)
    return DataLoader(TensorDataset(x, (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()), batch_size=size)


def told(net: nn.Module, size: int) -> list[tuple[str, str]]:
    monitor = InitMonitor(sinks=())
    torch.manual_seed(0)
    fit(Classifier(net), batches(size), monitor, steps=200)
    assert not monitor.notices
    return [(finding.code, str(finding.severity)) for finding in monitor.findings]


@pytest.mark.parametrize("size", [8, 16, 64])
@pytest.mark.parametrize(
    "make",
    [
        plain,
        lambda: plain(dropout=0.5),
        Functional,
        lambda: Functional(one=True),
        lambda: Functional(recomputed=True),
    ],
    ids=["modules", "dropout", "functions", "shared", "recomputed"],
)
def test_two_units_of_five_that_are_dead_are_told_within_200_steps(make: Callable[[], nn.Module], size: int) -> None:
    torch.manual_seed(0)
    assert ("IM301", "warning") in told(make(), size)


@pytest.mark.parametrize("size", [8, 64])
def test_sparse_layers_and_living_ones_are_not_called_dead(size: int) -> None:
    torch.manual_seed(0)
    net = sparse()
    zeros = (net[:2](torch.randn(1000, 16)) == 0).float().mean()
    assert 0.94 < zeros < 0.98
    for one in (net, plain(dead=0), plain(dead=0, dropout=0.5), Functional(dead=0)):
        assert not {code for code, severity in told(one, size) if severity != "info"}


class Signs(nn.Module):
    """A network whose first layer never changes, so that what its units do can be computed afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.fixed, self.act, self.head = nn.Linear(16, 40), nn.ReLU(), nn.Linear(40, 4)
        self.fixed.requires_grad_(requires_grad=False)
        with torch.no_grad():
            self.fixed.bias.copy_(torch.linspace(-4, 4, 40))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.head(self.act(self.fixed(x)))
        return output


def test_the_categories_are_exact_over_every_step_that_was_looked_at() -> None:
    torch.manual_seed(0)
    net, size = Signs(), 16
    loader = batches(size)
    seen = torch.cat([net.fixed(x) for x, _ in loader])
    monitor = InitMonitor(sinks=())
    fit(Classifier(net), loader, monitor, steps=101)
    # Every step until there is enough, which is at step 62; after that one in eight brings as much again within 500.
    looked = [*range(63), *range(70, 100, 8), 100]
    for record in monitor.records:
        pre = torch.cat([seen[step * size : (step + 1) * size] for step in looked if step <= record.step])
        units = record.layer_table
        assert units.at("net.act", Quantity.UNIT_SAMPLES) == len(pre)
        assert units.at("net.act", Quantity.DEAD_FRACTION) == pytest.approx(float((pre <= 0).all(0).float().mean()))
        assert units.at("net.act", Quantity.ALL_POSITIVE_FRACTION) == pytest.approx(
            float((pre > 0).all(0).float().mean())
        )
    assert len(looked) * size > ENOUGH


@pytest.mark.parametrize("size", [256, 1024])
def test_what_the_schedule_shows_often_enough_is_not_looked_at(size: int) -> None:
    torch.manual_seed(0)
    net, hooked = plain(), []
    with init_monitor.watch(net, sinks=()) as monitor:
        for step in range(20):
            with monitor.step():
                net(torch.randn(size, 16)).square().mean().backward()
                hooked.append((step, bool(net[1]._forward_hooks)))
    assert [step for step, on in hooked if on] == list(range(10))


def test_nothing_stays_on_the_model_between_the_steps_and_copies_report_nothing() -> None:
    torch.manual_seed(0)
    net = plain()
    copies = []
    with init_monitor.watch(net, sinks=()) as monitor:
        for _ in range(60):
            with monitor.step():
                net(torch.randn(4, 16)).square().mean().backward()
                copies.append(copy.deepcopy(net))
                copies[-1](torch.full((1000, 16), 100.0))
                with torch.no_grad():
                    net(torch.full((1000, 16), 100.0))
            assert not any(module._forward_hooks for module in net.modules())
    assert monitor.records[-1].step == 50
    assert monitor.records[-1].layer_table.at("1", Quantity.UNIT_SAMPLES) == 51 * 4


def test_the_training_is_the_same_to_the_bit() -> None:
    def run(monitor: InitMonitor | None) -> list[float]:
        torch.manual_seed(3)
        module = Classifier(plain(dropout=0.3))
        fit(module, batches(8), monitor, steps=120)
        return module.losses

    assert run(InitMonitor(sinks=())) == run(None)


def test_a_model_that_was_given_to_the_compiler_is_left_alone() -> None:
    torch.manual_seed(0)
    net = plain()
    net.compile(backend="eager")
    with init_monitor.watch(net, sinks=()) as monitor:
        for _ in range(20):
            with monitor.step():
                net(torch.randn(4, 16)).square().mean().backward()
    assert monitor.records[-1].layer_table.at("1", Quantity.UNIT_SAMPLES) == 10 * 4


def test_a_step_that_was_given_to_the_compiler_is_left_alone() -> None:
    torch.manual_seed(0)
    net = plain()
    steps: list[int] = []
    runs: list[int] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        def run(*args: object) -> object:
            runs.append(steps[-1])
            return graph(*args)

        return run

    compiled = torch.compile(lambda x: net(x).square().mean(), backend=backend)
    with init_monitor.watch(net, sinks=()) as monitor:
        for step in range(20):
            steps.append(step)
            with monitor.step():
                compiled(torch.randn(4, 16)).backward()
    assert runs == list(range(10, 20))
    assert monitor.records[-1].layer_table.at("1", Quantity.UNIT_SAMPLES) == 10 * 4


def test_a_look_that_fails_is_said_once_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        message = "forced"
        raise RuntimeError(message)

    monkeypatch.setattr("init_monitor.capture.sign_looks.SignLooks._take", staticmethod(failing))
    torch.manual_seed(0)
    module, monitor = Classifier(plain()), InitMonitor(sinks=())
    with pytest.warns(init_monitor.InitMonitorWarning, match="forced"):
        fit(module, batches(8), monitor, steps=60)
    assert len(monitor.notices) == 2  # one for each rectifier
    assert monitor.records[-1].layer_table.at("net.1", Quantity.UNIT_SAMPLES) == 11 * 8
