"""How the variance travels through depth: N(0, 1), Xavier and He, for linear, tanh and ReLU networks."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import torch
from setting import Claim, figure, report, setting
from torch import nn

import init_monitor
from init_monitor import recipes
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

ACTIVATIONS = {"linear": nn.Identity, "tanh": nn.Tanh, "ReLU": nn.ReLU}


def standard_normal_(model: nn.Module, generator: torch.Generator) -> None:
    """Draw every weight from N(0, 1)."""
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.normal_(generator=generator) if parameter.dim() > 1 else parameter.zero_()


RECIPES = {
    "N(0, 1)": standard_normal_,
    "Xavier": recipes.xavier_normal_,
    "He": partial(recipes.he_normal_, nonlinearity="relu"),
}


def variances(activation: type[nn.Module], recipe: str, width: int, depth: int) -> list[float]:
    """Return the variance of each layer's pre-activation."""
    net = nn.Sequential(*(part for _ in range(depth) for part in (nn.Linear(width, width), activation())))
    RECIPES[recipe](net, generator=torch.Generator().manual_seed(0))
    x = torch.randn(256, width, generator=torch.Generator().manual_seed(1))
    found = init_monitor.check(net, x, rules=()).records[0]
    column = dict(zip(found.names, found.column(Quantity.VARIANCE), strict=True))
    return [float(column[str(2 * i)]) for i in range(depth)]


def main(arguments: Sequence[str] | None = None) -> list[Claim]:
    """Measure, draw, and compare with theory."""
    given = setting("variance_over_depth", __doc__, arguments)
    width, depth = (128, 20) if given.small else (512, 50)
    measured = {(a, r): variances(ACTIVATIONS[a], r, width, depth) for a in ACTIVATIONS for r in RECIPES}
    with figure(given, 1, 3, "Variance of the pre-activation over depth") as axes:
        for axis, activation in zip(axes, ACTIVATIONS, strict=True):
            for recipe in RECIPES:
                axis.semilogy(range(1, depth + 1), measured[activation, recipe], label=recipe)
            axis.set(title=activation, xlabel="layer", ylabel="Var")
            axis.legend()
    at = 10
    scatter = math.exp(3 * math.sqrt(depth * 5 / width))
    return report(
        given,
        [
            Claim("N(0,1), linear: log10 Var at layer 10", at * math.log10(width), math.log10(measured["linear", "N(0, 1)"][at - 1]), 1.05),
            Claim("N(0,1), ReLU: log10 Var at layer 10", math.log10(width) + (at - 1) * math.log10(width / 2), math.log10(measured["ReLU", "N(0, 1)"][at - 1]), 1.05),
            Claim(f"Xavier, linear: Var at layer {depth}", 1.0, measured["linear", "Xavier"][-1], scatter),
            Claim(f"He, ReLU: Var at layer {depth}", 2.0, measured["ReLU", "He"][-1], scatter),
            Claim("Xavier, ReLU: log2 Var at layer 11", -10.0, math.log2(measured["ReLU", "Xavier"][10]), 1.25),
            Claim(f"Xavier, tanh: Var at layer {depth}", 1 / (1 + 2 * depth), measured["tanh", "Xavier"][-1], 1.6),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
