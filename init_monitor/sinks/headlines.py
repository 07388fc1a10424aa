"""Which summary scalars TensorBoard's Time Series tab gets unless all are asked for: one glance, one group. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.records.quantities import Quantity
from init_monitor.records.registry import registered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEADLINES = (
    (Quantity.VARIANCE, "log10_min"),
    (Quantity.VARIANCE, "log10_max"),
    (Quantity.GRADIENT_VARIANCE, "log10_min"),
    (Quantity.GRADIENT_VARIANCE, "log10_max"),
    (Quantity.DEAD_FRACTION, "max"),
    (Quantity.UPDATE_RATIO, "log10_median"),
    (Quantity.RESIDUAL_GROWTH, "median"),
)
"""With the loss eight. The smallest and the largest variance part where a signal or a gradient vanishes or explodes; then
the layer with most dead units, the usual size of a step, and how fast a residual stream grows."""


def headlines() -> Mapping[Quantity, Sequence[str]]:
    """Return the summary statistics that are written by default, by quantity.

    Quantities that a program registered itself are among them: who gives one a summary wants to see it.
    """
    kept: dict[Quantity, Sequence[str]] = {quantity: quantity.facts.summary for quantity in registered()}
    for quantity in dict.fromkeys(quantity for quantity, _ in HEADLINES):
        chosen = [statistic for headline, statistic in HEADLINES if headline is quantity]
        kept[quantity] = [statistic for statistic in quantity.facts.summary if statistic in chosen]
    return kept
