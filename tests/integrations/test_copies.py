"""Libraries copy the callbacks they are given: what a copy finds is what the original shows."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import torch
from models import Classifier, fit, loader, mlp
from torch import nn

from init_monitor import InitMonitor

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.untraced


def exploding(monitor: InitMonitor, steps: int = 3) -> None:
    torch.manual_seed(0)
    fit(Classifier(mlp(12, 64, nn.init.normal_), lr=1e-30), loader(64), monitor, steps=steps)


def healthy(monitor: InitMonitor) -> None:
    fit(Classifier(mlp(1, 8)), loader(8), monitor, steps=1)


def within(copied: Callable[[Any], Any]) -> Callable[[InitMonitor], InitMonitor]:
    """As a library does it: the arguments of a Trainer are copied, and the callback is one of them."""

    def twin_of(monitor: InitMonitor) -> InitMonitor:
        twin: InitMonitor = copied({"max_steps": 3, "callbacks": [monitor]})["callbacks"][0]
        return twin

    return twin_of


COPIES = pytest.mark.parametrize(
    "twin_of", [copy.copy, copy.deepcopy, within(copy.deepcopy)], ids=["copy", "deepcopy", "deepcopy of arguments"]
)


@COPIES
def test_what_a_copy_finds_is_what_the_original_shows(twin_of: Callable[[InitMonitor], InitMonitor]) -> None:
    monitor = InitMonitor(sinks=(), dense_steps=2, strict=True)
    twin = twin_of(twin_of(monitor))
    assert twin is not monitor
    exploding(twin)
    assert monitor.findings
    assert monitor.findings == twin.findings
    assert [record.step for record in monitor.records] == [0, 1]
    assert monitor.structure == twin.structure
    assert monitor.losses.tolist() == twin.losses.tolist() != []
    assert monitor.report.to_json() == twin.report.to_json()


@COPIES
def test_of_several_copies_the_last_that_trained_is_shown_and_each_shows_its_own(
    twin_of: Callable[[InitMonitor], InitMonitor],
) -> None:
    monitor = InitMonitor(sinks=(), dense_steps=2, strict=True)
    first, second = twin_of(monitor), twin_of(monitor)
    exploding(first)
    healthy(second)
    assert (monitor.findings, second.findings) == ([], [])
    assert len(monitor.structure) == len(second.structure) == len(monitor.records[0].names)
    assert first.findings


@COPIES
def test_who_trained_itself_shows_its_own_fit(twin_of: Callable[[InitMonitor], InitMonitor]) -> None:
    monitor = InitMonitor(sinks=(), dense_steps=2, strict=True)
    before = twin_of(monitor)
    healthy(monitor)
    after = twin_of(monitor)
    for twin in (before, after):
        exploding(twin)
        assert twin.findings
        assert monitor.findings == []
        assert [record.step for record in monitor.records] == [0]


def test_an_original_is_pickled_with_what_its_copy_found_and_knows_nobody_elsewhere() -> None:
    monitor = InitMonitor(sinks=(), dense_steps=2, strict=True)
    exploding(copy.deepcopy(monitor))
    elsewhere = pickle.loads(pickle.dumps(monitor))  # noqa: S301 - made here
    assert elsewhere.findings == monitor.findings
    healthy(elsewhere)
    assert elsewhere.findings == []
    assert monitor.findings
