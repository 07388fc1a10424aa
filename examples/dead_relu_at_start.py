"""Fig. 3 of the RescaleNet paper: which ReLUs do nothing in an untrained network, and how two of them respond.

Source: Shao et al. 2020, Appendix A.2: 50 ReLU layers 1024 wide, He, 4096 standard normal inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from setting import Claim, figure, report, setting
from torch import nn

import init_monitor
from init_monitor import recipes

if TYPE_CHECKING:
    from collections.abc import Sequence

REFERENCE = {10: 0.146, 15: 0.26, 20: 0.368, 30: 0.49, 40: 0.57, 50: 0.64}
"""Share of units in the linear regime, as measured in an independent run at full size."""

HISTOGRAM_LAYER = 5


def main(arguments: Sequence[str] | None = None) -> list[Claim]:
    """Measure, draw, and compare with the reference."""
    given = setting("dead_relu_at_start", __doc__, arguments)
    width, samples, depth = (512, 1024, 30) if given.small else (1024, 4096, 50)
    net = nn.Sequential(*(part for _ in range(depth) for part in (nn.Linear(width, width), nn.ReLU())))
    recipes.he_normal_(net, generator=torch.Generator().manual_seed(0))
    x = torch.randn(samples, width, generator=torch.Generator().manual_seed(1))
    record = init_monitor.check(net, x, rules=()).records[0]
    units = [record.layers[str(2 * i + 1)].units for i in range(depth)]
    known = [one for one in units if one is not None]
    with torch.no_grad():
        responses = net[: 2 * HISTOGRAM_LAYER - 1](x)
    layers = range(1, depth + 1)
    with figure(given, 1, 2, "ReLUs of an untrained network (He, Gaussian input)") as (categories, histogram):
        categories.plot(layers, [one.linear_fraction for one in known], label="linear regime")
        categories.plot(layers, [one.dead_fraction for one in known], label="all negative (dead)")
        categories.plot(layers, [one.all_positive_fraction for one in known], label="all positive")
        categories.plot(layers, [one.nonlinear_fraction for one in known], label="nonlinear regime")
        categories.plot(list(REFERENCE), list(REFERENCE.values()), "k.", label="reference, linear regime")
        categories.set(xlabel="layer", ylabel="share of units")
        categories.legend(fontsize=8)
        for unit, label in ((responses.amin(0).argmax(), "all positive"), (responses.amax(0).argmin(), "all negative")):
            histogram.hist(responses[:, unit].tolist(), bins=60, alpha=0.6, label=label)
        histogram.axvline(0, color="black", linewidth=0.8)
        histogram.set(xlabel=f"pre-activation in layer {HISTOGRAM_LAYER}", ylabel="inputs")
        histogram.legend()
    # Narrower layers and fewer inputs raise the share; at full size a draw of weights moves it by a few points.
    factor = 1.6 if given.small else 1.35
    return report(
        given,
        [
            Claim(f"linear regime at layer {layer}", share, known[layer - 1].linear_fraction, factor)
            for layer, share in REFERENCE.items()
            if layer <= depth
        ],
    )


if __name__ == "__main__":
    main()
