"""Which summary scalars TensorBoard's Time Series tab gets unless all are asked for: one glance, one group. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.records.quantities import Quantity
from init_monitor.records.registry import is_registered, quantities
from init_monitor.records.tags import scalar_tag

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def headlines(scalars: Mapping[str, float]) -> dict[str, float]:
    """Return those of the summary scalars that are written by default.

    Quantities that a program registered itself are among them: who gives one a summary wants to see it.
    """
    own = (quantity for quantity in quantities() if is_registered(quantity))
    kept = {scalar_tag(quantity, statistic) for quantity, statistic in HEADLINES}
    kept |= {scalar_tag(quantity, statistic) for quantity in own for statistic in quantity.facts.summary}
    return {tag: value for tag, value in scalars.items() if tag in kept}
