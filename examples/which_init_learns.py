"""Zeros, N(0, 1), Xavier and He on a digit classifier: loss curves, final accuracy, and units that stay identical."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from setting import Claim, digits, figure, report, setting
from torch import nn
from variance_over_depth import standard_normal_

import init_monitor
from init_monitor import recipes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from init_monitor import Finding

LAYERS, WIDTH, CLASSES = 10, 64, 10


def constant_(value: float) -> Callable[..., None]:
    """Return a recipe that sets every weight to ``value``."""

    def recipe(model: nn.Module, generator: torch.Generator) -> None:  # noqa: ARG001 - as every recipe
        for one in model.parameters():
            nn.init.constant_(one, value if one.dim() > 1 else 0.0)

    return recipe


RECIPES: dict[str, Callable[..., object]] = {
    "zeros": constant_(0.0),
    "constant 0.1": constant_(0.1),
    "N(0, 1)": standard_normal_,
    "Xavier": recipes.xavier_normal_,
    "He": recipes.he_normal_,
}


def train(recipe: str, epochs: int) -> tuple[list[float], float, nn.Sequential, list[Finding]]:
    """Return losses, accuracy on held-out digits, the network, and what the monitor found."""
    images, labels, held_out, answers = digits()
    hidden = [part for _ in range(LAYERS) for part in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
    net = nn.Sequential(*hidden, nn.Linear(WIDTH, CLASSES))
    RECIPES[recipe](net, generator=torch.Generator().manual_seed(0))
    optimizer, losses = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9), []
    shuffling = torch.Generator().manual_seed(1)
    with init_monitor.watch(net, optimizer, sinks=()) as monitor:
        for _ in range(epochs):
            for rows in torch.randperm(len(images), generator=shuffling).split(64):
                with monitor.step():
                    loss = nn.functional.cross_entropy(net(images[rows]), labels[rows])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                losses.append(float(loss.detach()))
    accuracy = float((net(held_out).argmax(1) == answers).float().mean())
    return losses, accuracy, net, monitor.findings


def spread(net: nn.Sequential) -> float:
    """Return the largest difference between two units' weights in the second hidden layer."""
    return float((net[2].weight - net[2].weight[:1]).detach().abs().max())


def main(arguments: Sequence[str] | None = None) -> list[Claim]:
    """Train each, draw, and compare with theory."""
    given = setting("which_init_learns", __doc__, arguments)
    runs = {recipe: train(recipe, 4 if given.small else 30) for recipe in RECIPES}
    with figure(given, 1, 2, "Which initialisation learns to read digits") as (curve, bars):
        for recipe, (losses, _, _, _) in runs.items():
            means = torch.tensor(losses).unfold(0, 10, 10).mean(dim=1)
            label = recipe if math.isfinite(sum(losses)) else f"{recipe} (not finite)"
            curve.semilogy(range(0, 10 * len(means), 10), means.tolist(), label=label)
        curve.set(xlabel="step", ylabel="loss, mean of 10 steps", title="cross entropy", ylim=(1e-3, 1e3))
        curve.legend(fontsize=8)
        bars.bar(list(runs), [accuracy for _, accuracy, _, _ in runs.values()])
        bars.tick_params("x", labelsize=8)
        bars.set(ylabel="share of held-out digits right", ylim=(0, 1))
    for recipe, (_, accuracy, _, findings) in runs.items():
        print(f"{recipe:<13}{accuracy:5.0%} right; the monitor: {', '.join(f.code for f in findings) or 'no finding'}")
    said = sum("IM501" in {finding.code for finding in runs[name][3]} for name in ("zeros", "constant 0.1"))
    claims = [
        Claim("zeros and constant: IM501 says so of both", 2.0, float(said), 1.01),
        Claim("zeros: loss at the end (log 10)", math.log(CLASSES), sum(runs["zeros"][0][-10:]) / 10, 1.03),
        Claim("zeros: difference between units", 0.0, spread(runs["zeros"][2]), 1.000001),
        Claim("constant: difference between units", 0.0, spread(runs["constant 0.1"][2]), 1.000001),
        Claim("He: share of digits right", 0.95, runs["He"][1], 1.2),
    ]
    return report(given, claims)


if __name__ == "__main__":
    main()
