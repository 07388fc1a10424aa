"""``python -m benchmarks.plans.small_tables``: what a plan does to plain networks on small tables.

The regressions among them led to what a plan does where the targets are numbers, so they are no evidence for that; nothing was changed for
the classes.

Every table with every network: the rate is the best of three for PyTorch's own start, and 200 steps of 64 rows are trained from it and from
the plan, with three seeds. The loss is the mean of the last fifteen steps.
"""

from __future__ import annotations

import argparse
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import pairwise, product
from pathlib import Path
from statistics import fmean, geometric_mean, median
from typing import TYPE_CHECKING, NamedTuple

import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import init_monitor

if TYPE_CHECKING:
    from collections.abc import Sequence

RATES = {"AdamW": (1e-3, 3e-3, 1e-2), "SGD": (0.01, 0.03, 0.1)}
STEPS, ROWS, LAST, SEEDS, WIDTH = 200, 64, 15, 3, 64
WORSE = (1.05, 1.15)

NETWORKS: dict[str, tuple[type[nn.Module], int]] = {
    "ReLU x 3": (nn.ReLU, 3), "ReLU x 5": (nn.ReLU, 5), "GELU x 4": (nn.GELU, 4), "tanh x 5": (nn.Tanh, 5), "SiLU x 3": (nn.SiLU, 3),
    "ReLU x 6": (nn.ReLU, 6), "ReLU x 8": (nn.ReLU, 8), "GELU x 7": (nn.GELU, 7), "tanh x 12": (nn.Tanh, 12),
}  # fmt: skip
BY_SGD = ("ReLU x 3", "tanh x 5", "ReLU x 6", "ReLU x 8")


class Pair(NamedTuple):
    """A table, a network and the optimizer."""

    table: str
    network: str
    optimizer: str


class Row(NamedTuple):
    """What a pair gave, the medians over the seeds."""

    pair: Pair
    rate: float
    default: float
    plan: float

    @property
    def ratio(self) -> float:
        """The plan's loss by the default's."""
        return self.plan / self.default


@cache
def tables() -> dict[str, tuple[Tensor, Tensor]]:
    """Return columns and targets by name: numbers as a column, classes as whole numbers."""
    noise = torch.Generator().manual_seed(0)
    cube = torch.rand(1500, 3, generator=noise) * 2 - 1
    normal = torch.randn(2000, 3, generator=noise)
    digits, cancer = _standard(datasets.load_digits().data), _standard(datasets.load_breast_cancer().data)
    return {
        "Friedman 1, noisy": _numbers(*datasets.make_friedman1(1500, 10, noise=1.0, random_state=0)),
        "Friedman 2": _numbers(*datasets.make_friedman2(1500, random_state=0)),
        "Friedman 3": _numbers(*datasets.make_friedman3(1500, random_state=0)),
        "waves": (cube, torch.sin(3 * cube[:, :1]) * cube[:, 1:2] + cube[:, 2:] ** 2),
        "cell radius": (cancer[:, 1:], cancer[:, :1]),
        "ink below": (digits[:, :32], _standard(digits[:, 32:].sum(1, keepdim=True))),
        "cells": (cancer, torch.as_tensor(datasets.load_breast_cancer().target)),
        "irises": _classes(*datasets.load_iris(return_X_y=True)),
        "moons": _classes(*datasets.make_moons(1500, noise=0.2, random_state=0)),
        "clusters": _classes(*datasets.make_classification(1500, 20, n_informative=8, n_classes=4, random_state=0)),
        "digits": (digits, torch.as_tensor(datasets.load_digits().target)),
        "signs": (normal, (normal.prod(1) > 0).long()),
    }


def _standard(values: object) -> Tensor:
    table = torch.as_tensor(values, dtype=torch.float32)
    return (table - table.mean(0)) / table.std(0).clamp_min(1e-3)


def _numbers(columns: object, targets: object) -> tuple[Tensor, Tensor]:
    return _standard(columns), _standard(targets)[:, None]


def _classes(columns: object, targets: object) -> tuple[Tensor, Tensor]:
    return _standard(columns), torch.as_tensor(targets)


def pairs() -> list[Pair]:
    """Return every pair."""
    return [
        Pair(table, network, optimizer)
        for table, network, optimizer in product(tables(), NETWORKS, RATES)
        if optimizer == "AdamW" or network in BY_SGD
    ]


def trained(pair: Pair, rate: float, seed: int, *, plan: bool) -> float:
    """Return the loss at the end of one training; infinite if it is no number, NaN if the plan keeps every layer."""
    columns, targets = tables()[pair.table]
    activation, depth = NETWORKS[pair.network]
    answers = 1 if targets.is_floating_point() else int(targets.max()) + 1
    torch.manual_seed(seed)
    sizes = [columns.shape[1], *[WIDTH] * depth]
    hidden = [part for i, o in pairwise(sizes) for part in (nn.Linear(i, o), activation())]
    net = nn.Sequential(*hidden, nn.Linear(WIDTH, answers))
    make = partial(torch.optim.SGD, momentum=0.9) if pair.optimizer == "SGD" else torch.optim.AdamW
    optimizer: torch.optim.Optimizer = make(net.parameters(), lr=rate)
    loss_of = F.mse_loss if targets.is_floating_point() else F.cross_entropy
    if plan:
        rows = torch.randint(len(columns), (ROWS,), generator=torch.Generator().manual_seed(seed))
        made = init_monitor.recommend(net, (columns[rows], targets[rows]), loss_of, optimizer=optimizer)
        if not any(layer.recipe for layer in made.layers):
            return math.nan
        made.apply_(generator=torch.Generator().manual_seed(seed))
        if made.rate is not None and made.rate.fits > 0:
            optimizer.param_groups[0]["lr"] = made.rate.fits
    losses, order = [], torch.Generator().manual_seed(seed + 9)
    for _ in range(STEPS):
        rows = torch.randint(len(columns), (ROWS,), generator=order)
        loss = loss_of(net(columns[rows]), targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    end = fmean(losses[-LAST:])
    return end if math.isfinite(end) else math.inf


def measure(pair: Pair) -> Row:
    """Train a pair from both starts."""
    torch.set_num_threads(1)
    first = {rate: trained(pair, rate, 0, plan=False) for rate in RATES[pair.optimizer]}
    rate = min(first, key=lambda each: first[each])
    default = [first[rate], *(trained(pair, rate, seed, plan=False) for seed in range(1, SEEDS))]
    plan = [trained(pair, rate, seed, plan=True) for seed in range(SEEDS)]
    kept = [own if math.isnan(planned) else planned for own, planned in zip(default, plan, strict=True)]
    return Row(pair, rate, median(default), median(kept))


def page(rows: Sequence[Row]) -> str:
    """Return the page of Markdown."""
    numbers = [row for row in rows if tables()[row.pair.table][1].is_floating_point()]
    classes = [row for row in rows if row not in numbers]
    lines = [
        "# What a plan does to plain networks on small tables",
        "",
        f"{len(rows)} pairs; loss over the last {LAST} of {STEPS} steps, median of {SEEDS} seeds; rate: the best of three for PyTorch's start.",
        "",
        "| | pairs | plan's loss by the default's, geometric mean | more than 5 % worse | more than 15 % worse |",
        "|:--|--:|--:|--:|--:|",
    ]
    for name, of in (("numbers", numbers), ("classes", classes)):
        mean = geometric_mean([min(max(row.ratio, 1e-3), 1e3) for row in of])
        worse = " | ".join(str(sum(row.ratio > factor for row in of)) for factor in WORSE)
        lines.append(f"| {name} | {len(of)} | {mean:.2f}× | {worse} |")
    lines += ["", "| table | network | rate | default | plan | ratio |", "|:--|:--|--:|--:|--:|--:|"]
    lines += [
        f"| {r.pair.table} | {r.pair.network} | {r.pair.optimizer} {r.rate:g} | {r.default:.3g} | {r.plan:.3g} | {r.ratio:.2f} |"
        for r in rows
    ]
    return "\n".join((*lines, ""))


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plans.small_tables", description=__doc__)
    parser.add_argument("--out", type=Path, help="write the page of Markdown here")
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each (2)")
    options = parser.parse_args()
    with ProcessPoolExecutor(options.jobs) as pool:
        text = page(list(pool.map(measure, pairs())))
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
