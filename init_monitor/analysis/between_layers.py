"""What multiplies the signal between two layers: a number, a dropout that keeps little, an average. No weight is to blame for it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.analysis.dtypes import format_of
from init_monitor.records import INPUT, PARAMETER
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.analysis.forward_profile import ForwardProfile
    from init_monitor.records import Layer, StepRecord

LEAST = 4.0
"""Factor of the mean square between two layers from which it is worth naming: the average of 2 × 2 independent numbers leaves a quarter,
the largest of them is 2.3 times as large, and what an activation that is no layer takes away is less."""

MOST = 0.5
"""Part of a change over depth, in logarithm, that such places must account for to be its cause."""


EXPONENTIAL = 1e4
"""Factor of the mean square from which it may be an exponential that grew: the rms has become a hundred times as large."""

AROUND = (-1.0, 2.0)
"""By how much, in logarithm, the largest number that a layer receives may differ from the exponential of the largest one before it: what
is sampled multiplies it by noise, four times as large as usual at most, and the largest magnitude may have been a negative one."""


class Passage(NamedTuple):
    """A place between layers that changes the size of what passes.

    Attributes:
        layer: which receives it.
        before: the names of those that it comes from.
        factor: of the mean square, from the sum of what they give to what is received.
        exponent: the layer whose exponential is as large as what is received; empty if there is none.
    """

    layer: Layer
    before: tuple[str, ...]
    factor: float
    exponent: str = ""


def passage_to(layer: Layer, record: StepRecord) -> Passage | None:
    """Return what changes the size of what a layer receives; ``None`` if nothing does by much, or it is not known."""
    table = record.layer_table
    if not layer.inputs or {INPUT, PARAMETER}.intersection(layer.inputs):
        return None
    given = sum(table.at(name, Quantity.MEAN_SQUARE) for name in layer.inputs)
    received = table.at(layer.name, Quantity.INPUT_MEAN_SQUARE)
    # A quotient of numbers near the ends of the format may be 0 or infinite though neither is.
    factor = received / given if 0 < given < math.inf else math.nan
    if not (0 < factor <= 1 / LEAST or LEAST <= factor < math.inf):
        return None
    return Passage(layer, layer.inputs, factor, _exponent(layer, record) if factor >= EXPONENTIAL else "")


def _exponent(layer: Layer, record: StepRecord) -> str:
    """Return the layer before another one whose exponential, or the root of it (a deviation from a log variance), is what is received."""
    table = record.layer_table
    received = table.at(layer.name, Quantity.INPUT_ABS_MAX)
    largest = {name: table.at(name, Quantity.ABS_MAX) for name in layer.inputs}
    reached, limit = math.log(received) if received > 0 else math.nan, math.log(format_of(layer.dtype).largest)
    for power in (1.0, 0.5):
        for name, value in largest.items():
            # Beyond the limit an exponential is infinite; of the others, some come far.
            cut = power * value > limit and reached >= limit / 2
            if cut or AROUND[0] <= reached - power * value <= AROUND[1]:
                return name
    return ""


def passages(at: ForwardProfile, total: float, record: StepRecord) -> dict[int, Passage]:
    """Return the places that account for how a signal, or its gradient, changes over the depth of a segment.

    What multiplies the signal multiplies the gradient on its way back as much.

    Args:
        at: the segment.
        total: variance factor over it.
        record: of it.

    Returns:
        By the position of the layer behind each place. Empty if they account for less than half of it, or residual additions lie
        between: those have rules of their own.
    """
    if not total > 0 or total == 1 or at.accounted.any():
        return {}
    direction, found, levels = math.log(total), dict[int, Passage](), dict[int, float]()
    for position, layer in enumerate(at.segment.layers):
        passage = passage_to(layer, record)
        if passage is not None and math.log(passage.factor) * direction > 0:
            found[position] = passage
            levels.setdefault(at.segment.levels[position], math.log(passage.factor))
    return found if sum(levels.values()) / direction >= MOST else {}
