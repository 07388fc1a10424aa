"""A model that calls itself, and a step inside a step: one forward is one batch, one step is one step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from models import Classifier, fit, loader
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

import init_monitor
from init_monitor import InitMonitorError

SAMPLES = 128


class CallsItself(nn.Module):
    """Three times through one layer, by ``__call__``; the inner calls are under the hooks of the outer one."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.fails = False

    def forward(self, x: Tensor, times: int = 3) -> Tensor:
        x = self.linear(x)
        if self.fails:
            raise ArithmeticError
        output: Tensor = x if times == 1 else self(x, times - 1)
        return output


def watched(model: nn.Module, forwards: int = 1) -> Any:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with init_monitor.watch(model, optimizer, sinks=(), strict=True) as monitor:
        for _ in range(2):
            with monitor.step():
                for _ in range(forwards):
                    model(torch.ones(SAMPLES, 4)).square().mean().backward()
                optimizer.step()
    return monitor


@pytest.mark.parametrize("forwards", [1, 2])
def test_only_the_outermost_call_is_a_batch(forwards: int) -> None:
    model = CallsItself()
    for record in watched(model, forwards).records:
        assert record.names == ("linear#1", "linear#2", "linear#3")
        # 1,536 would be all calls in one; two forwards are two micro-batches of each.
        assert [record.layers[name].forward.count for name in record.names] == [SAMPLES * 4 * forwards] * 3
        assert [record.layers[name].backward.count for name in record.names] == [SAMPLES * 4 * forwards] * 3


def test_under_lightning_it_is_the_same() -> None:
    monitor = init_monitor.InitMonitor(sinks=(), strict=True, dense_steps=3)
    fit(Classifier(CallsItself(10)), loader(10, samples=48, batch=16), monitor, steps=3)
    for record in monitor.records:
        assert [name.rpartition(".")[2] for name in record.names] == ["linear#1", "linear#2", "linear#3"]
        assert [record.layers[name].forward.count for name in record.names] == [16 * 10] * 3


def test_a_forward_that_raised_does_not_hide_the_next_one() -> None:
    model = CallsItself()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with init_monitor.watch(model, optimizer, sinks=(), strict=True) as monitor, monitor.step():
        model.fails = True
        with pytest.raises(ArithmeticError):
            model(torch.ones(SAMPLES, 4))
        model.fails = False
        for _ in range(2):
            model(torch.ones(SAMPLES, 4)).square().mean().backward()
        optimizer.step()
    record = monitor.records[-1]
    assert record.layers["linear#3"].forward.count == 2 * SAMPLES * 4


def no_hooks(model: nn.Module) -> bool:
    return not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_step_inside_a_step_is_refused_and_leaves_no_hook() -> None:
    model = CallsItself()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with init_monitor.watch(model, optimizer, sinks=()) as monitor:
        with pytest.raises(InitMonitorError, match="inside another step"), monitor.step(), monitor.step():
            pass
        assert no_hooks(model)
        with monitor.step():
            model(torch.ones(SAMPLES, 4)).square().mean().backward()
            optimizer.step()
        assert [record.step for record in monitor.records] == [0]
        assert monitor.records[0].layers["linear#1"].forward.count == SAMPLES * 4
    assert no_hooks(model)


def test_a_step_that_an_adapter_begins_anew_leaves_no_hook_of_the_first() -> None:
    model = CallsItself()
    watch = init_monitor.watch(model, sinks=())
    watch.begin_step()
    watch.begin_step()
    watch.end_step()
    assert no_hooks(model)
    assert not _get_current_function_mode_stack()


@pytest.mark.parametrize("end", ["end_step", "abort_step", "close"])
def test_a_step_without_a_backward_leaves_no_mode(end: str) -> None:
    model = CallsItself()
    watch = init_monitor.watch(model, sinks=())
    watch.__enter__()
    watch.begin_step()
    model(torch.ones(2, 4))
    if end == "close":
        watch.__exit__(None, None, None)
    else:
        getattr(watch, end)()
    assert no_hooks(model)
    assert not _get_current_function_mode_stack()
    watch.__exit__(None, None, None)
