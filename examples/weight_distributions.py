"""The weights that each recipe draws as fan_in and fan_out change: wider layers, smaller weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from setting import Claim, figure, report, setting

from init_monitor import recipes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RECIPES: dict[str, Callable[..., torch.Tensor]] = {
    "xavier_normal_": recipes.xavier_normal_,
    "xavier_uniform_": recipes.xavier_uniform_,
    "he_normal_": recipes.he_normal_,
    "he_uniform_": recipes.he_uniform_,
}


def main(arguments: Sequence[str] | None = None) -> list[Claim]:
    """Draw weights, their histograms, and compare with theory."""
    given = setting("weight_distributions", __doc__, arguments)
    fans = [(64, 64), (64, 512), (512, 64), (512, 512), (1024, 512)]
    if not given.small:
        fans += [(2048, 2048)]
    claims = []
    with figure(given, 1, len(RECIPES), "Weights by recipe, fan_in and fan_out") as axes:
        for axis, (name, recipe) in zip(axes, RECIPES.items(), strict=True):
            for fan_in, fan_out in fans:
                weight = recipe(torch.empty(fan_out, fan_in), generator=torch.Generator().manual_seed(0))
                label = f"{fan_in} to {fan_out}"
                axis.hist(weight.flatten()[:100_000].tolist(), bins=80, density=True, histtype="step", label=label)
                variance = 2 / fan_in if name.startswith("he") else 2 / (fan_in + fan_out)
                claims.append(Claim(f"{name} {label}: Var", variance, float(weight.var(correction=0)), 1.1))
                if "uniform" in name:
                    bound = math.sqrt(6 / fan_in) if name.startswith("he") else math.sqrt(6 / (fan_in + fan_out))
                    claims.append(Claim(f"{name} {label}: bound", bound, float(weight.abs().max()), 1.01))
            axis.set(title=name, xlabel="weight", xlim=(-0.4, 0.4))
            axis.legend(fontsize=7)
    return report(given, claims)


if __name__ == "__main__":
    main()
