from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from builders import linears, record
from models import Classifier, fit, loader
from torch import nn

from init_monitor import InitMonitor, Severity
from init_monitor.analysis.chosen import never_chosen
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import StepRecord


def records(chosen: list[list[int]], members: int = 8) -> list[StepRecord]:
    """One record per list of the experts that were chosen in it; the router always learns."""
    names = [f"moe.experts.{i}.up.weight" for i in range(members)]
    made = []
    for step, some in enumerate(chosen):
        norms = np.full(members + 1, np.nan)
        norms[[*some, members]] = 1.0
        given = {Quantity.WEIGHT_GRADIENT_NORM: norms, Quantity.UPDATE_RATIO: np.where(norms > 0, 1e-3, 0.0)}
        made.append(record(linears(1), given, step=step, parameter_names=(*names, "moe.router.weight")))
    return made


def silent(chosen: list[list[int]], members: int = 8) -> list[str]:
    ever = {i for some in chosen for i in some}
    return [f"moe.experts.{i}.up.weight" for i in range(members) if i not in ever]


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ([[0, 1, 2], [0, 1], *[[0, 2]] * 10], 5),
        ([[0, 1, 2]] * 12, 0),  # always the same: heads of other tasks, layers that are left out
        ([[0], [1], [2], [0], [1]], 0),  # one at a time of eight: 8 · (7/8)^5 = 4.1 are left by chance
        ([[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 6]] * 6, 0),  # one is left, which a rare input may need
        ([[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4]] * 6, 2),
    ],
)
def test_experts_that_are_never_chosen_are_told_if_chance_would_not_leave_so_many(
    chosen: list[list[int]], told: int
) -> None:
    assert len(never_chosen(silent(chosen), records(chosen))) == told


def test_random_routing_is_told_in_fewer_than_one_run_of_a_hundred() -> None:
    generator = np.random.default_rng(0)
    told = 0
    for _ in range(500):
        chosen = [sorted(generator.choice(8, size=2, replace=False).tolist()) for _ in range(11)]
        told += bool(never_chosen(silent(chosen), records(chosen)))
    assert told <= 5


def test_records_of_other_parameters_say_nothing() -> None:
    made = [*records([[0, 1], [0]]), record(linears(2), {Quantity.WEIGHT_GRADIENT_NORM: 1.0})]
    assert never_chosen(silent([[0, 1], [0]]), made) == frozenset()


class Switch(nn.Module):
    """Eight experts, of which each sample gets the best; ``spread`` says how much the samples differ for the router."""

    def __init__(self, *, normalised: bool) -> None:
        super().__init__()
        self.first = nn.Linear(16, 24)
        self.norm = nn.LayerNorm(24) if normalised else nn.Identity()
        self.router = nn.Linear(24, 8)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 10)) for _ in range(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.first(x)) + (0 if isinstance(self.norm, nn.LayerNorm) else 12)
        weight, best = torch.softmax(self.router(self.norm(h)), 1).max(1)
        out = torch.zeros(len(x), 10)
        for i, expert in enumerate(self.experts):
            mine = (best == i).nonzero()[:, 0]
            if len(mine):
                out = out.index_put((mine,), weight[mine, None] * expert(h[mine]))
        return out


@pytest.mark.parametrize("normalised", [True, False])
def test_a_router_that_sends_all_to_the_same_few_is_told_and_one_that_does_not_is_not(*, normalised: bool) -> None:
    torch.manual_seed(0)
    monitor = InitMonitor(sinks=(), strict=True)
    options: dict[str, Any] = {"lr": 3e-3, "optimizer": "AdamW"}
    fit(Classifier(Switch(normalised=normalised), **options), loader(16, samples=2048, batch=64), monitor, steps=110)
    loud = [one for one in monitor.findings if one.severity > Severity.INFO]
    if normalised:
        assert loud == []
    else:
        assert [one.code for one in loud] == ["IM602"]
        assert "not so by chance" in loud[0].message
        assert "balances" in loud[0].remedy
