"""One switch for all trainings of a process, whichever threads they run in."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest
import torch
import torch._dynamo.eval_frame as dynamo
from torch import nn

import init_monitor
from init_monitor.torch_compat import EagerMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

THREADS = 6


@pytest.fixture(autouse=True)
def tiny_switch_interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(work: Callable[[], None]) -> None:
    failed: list[BaseException] = []
    start = threading.Barrier(THREADS)

    def run() -> None:
        try:
            start.wait()
            work()
        except BaseException as error:  # noqa: BLE001 - told in the thread of the test
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def stance() -> str:
    return str(dynamo._stance.stance)


def test_threads_that_hold_and_release_at_once_leave_the_process_as_it_was() -> None:
    eager = EagerMode()

    class Holder:
        pass

    def work() -> None:
        holder = Holder()
        for _ in range(300):
            eager.hold(holder)
            assert stance() == "force_eager"
            eager.release(holder)

    for _ in range(3):
        in_threads(work)
        assert stance() == "default"


def test_watched_trainings_in_threads_leave_the_process_as_it_was() -> None:
    def work() -> None:
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with init_monitor.watch(model, optimizer, sinks=(), rules=(), strict=True) as monitor:
            for _ in range(4):
                with monitor.step():
                    optimizer.zero_grad()
                    model(torch.ones(2, 4)).square().mean().backward()
                    optimizer.step()
        assert len(monitor.records) == 4

    in_threads(work)
    assert stance() == "default"
