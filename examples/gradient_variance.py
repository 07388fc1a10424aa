"""The gradient on its way back through a ReLU network: He keeps its variance, Xavier halves it at every layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from setting import Claim, figure, report, setting
from torch import nn

import init_monitor
from init_monitor import recipes
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RECIPES: dict[str, Callable[..., object]] = {"He": recipes.he_normal_, "Xavier": recipes.xavier_normal_}


def gradients(recipe: str, width: int, depth: int) -> list[float]:
    """Return Var(∂loss/∂pre-activation) of each layer."""
    net = nn.Sequential(*(part for _ in range(depth) for part in (nn.Linear(width, width), nn.ReLU())))
    RECIPES[recipe](net, generator=torch.Generator().manual_seed(0))
    x = torch.randn(256, width, generator=torch.Generator().manual_seed(1))
    found = init_monitor.check(net, x, rules=()).records[0]
    column = dict(zip(found.names, found.column(Quantity.GRADIENT_VARIANCE), strict=True))
    return [float(column[str(2 * i)]) for i in range(depth)]


def main(arguments: Sequence[str] | None = None) -> list[Claim]:
    """Measure, draw, and compare with theory."""
    given = setting("gradient_variance", __doc__, arguments)
    width, depth = (256, 20) if given.small else (512, 50)
    measured = {recipe: gradients(recipe, width, depth) for recipe in RECIPES}
    with figure(given, 1, 1, "Variance of the gradient, from the output back to the input") as (axis,):
        for recipe, values in measured.items():
            axis.semilogy(range(1, depth + 1), values, label=recipe)
        axis.set(xlabel="layer", ylabel="Var(∂loss/∂z)")
        axis.legend()
    steps = depth - 1

    def per_layer(recipe: str) -> float:
        values = measured[recipe]
        return (values[0] / values[-1]) ** (1 / steps)

    # The product of so many factors scatters by sqrt(5/width) each; per layer the root of their number less.
    scatter = math.exp(3 * math.sqrt(5 / width / steps))
    return report(
        given,
        [
            Claim("He: factor per layer", 1.0, per_layer("He"), scatter),
            Claim("Xavier: factor per layer", 0.5, per_layer("Xavier"), scatter),
            Claim("He over Xavier at the first layer: log2", float(steps), math.log2(measured["He"][0] / measured["Xavier"][0]), 1.1),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
