"""One training: a network from one start, its loss around three steps."""

from __future__ import annotations

import math
from statistics import mean
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

import init_monitor
from init_monitor import recipes
from init_monitor.errors import InitMonitorError

if TYPE_CHECKING:
    from benchmarks.plans.pairs import Pair
    from benchmarks.plans.task import Task

LOOKS = (50, 200, 250)
"""Steps up to which a loss is taken."""

STEADY = (8, 6, 4, 2, 0)
"""How many steps before a look the losses are taken whose mean counts. One of them alone may be ten times as large as the next under a
rate that suits the start of a training: over 12 seeds of the deep sets, the plan's loss after step 200 alone was 3.5 times the
default's, and over the last ten steps the same."""

RATES = {"AdamW": (3e-4, 1e-3, 3e-3, 1e-2), "SGD": (0.003, 0.01, 0.03, 0.1)}
LARGE, SMALL, ALIKE, ONE = 1.0, 0.002, 0.05, 30.0
"""Standard deviation of large and of small weights; the value of weights that are all alike; the factor on one layer."""


class Trial(NamedTuple):
    """What is trained: by name of the pair, the start, what was done to it, seed and rate."""

    pair: str
    start: str
    treatment: str
    seed: int
    rate: float


def run(pair: Pair, trial: Trial) -> tuple[float, ...]:
    """Return the losses at :data:`LOOKS`; infinite from where they are no number; empty if the treatment changes nothing."""
    task = pair.task()
    torch.manual_seed(trial.seed)
    net = pair.make()
    spoil(net, trial.start)
    batches = torch.Generator().manual_seed(1000 + trial.seed)
    optimizer: torch.optim.Optimizer
    if pair.optimizer == "SGD":
        optimizer = torch.optim.SGD(net.parameters(), trial.rate, momentum=0.9)
    else:
        optimizer = torch.optim.AdamW(net.parameters(), trial.rate)
    if not treat(net, trial, task, optimizer):
        return ()
    losses: dict[int, list[float]] = {look: [] for look in LOOKS}
    for step in range(1, LOOKS[-1] + 1):
        inputs, targets = task.batch(batches)
        loss = task.loss(net(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for look in LOOKS:
            if look - step in STEADY:
                losses[look].append(_judge(net, task))
    return tuple(mean(of) for of in losses.values())


def spoil(net: nn.Module, start: str) -> None:
    """Start a network wrongly: the weights of all layers too large, too small or alike, or one of them too large."""
    weights = [weight for name, weight in net.named_parameters() if weight.dim() > 1 and "places" not in name]
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for n, weight in enumerate(weights):
            if start == "large":
                weight.normal_(0, LARGE, generator=generator)
            elif start == "small":
                weight.normal_(0, SMALL, generator=generator)
            elif start == "alike":
                weight.fill_(ALIKE)
            elif start == "one layer" and n == len(weights) // 2:
                weight.mul_(ONE)


def treat(net: nn.Module, trial: Trial, task: Task, optimizer: torch.optim.Optimizer) -> bool:
    """Do to the network what the trial is about: nothing, the plan, the textbook's plan, or LSUV; say whether to train it.

    What a plan leaves as it is need not be trained again. A rate that the plan advises is taken.
    """
    inputs, targets = task.batch(torch.Generator().manual_seed(2000 + trial.seed))
    generator = torch.Generator().manual_seed(3000 + trial.seed)
    if trial.treatment in {"plan", "theory"}:
        style = "measured" if trial.treatment == "plan" else "theory"
        given = optimizer if style == "measured" else None
        plan = init_monitor.recommend(net, (inputs, targets), task.loss, style=style, optimizer=given)
        plan.apply_(generator=generator)
        if plan.rate is not None and plan.rate.fits > 0:
            optimizer.param_groups[0]["lr"] = plan.rate.fits
        return any(layer.recipe for layer in plan.layers)
    if trial.treatment == "LSUV":
        try:
            recipes.lsuv_(net, inputs, generator=generator)
        except InitMonitorError:
            return False  # no layer that it could scale
    return True


def _judge(net: nn.Module, task: Task) -> float:
    with torch.no_grad():
        loss = float(task.loss(net(task.judged()[0]), task.judged()[1]))
    return loss if math.isfinite(loss) else math.inf
