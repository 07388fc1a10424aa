"""How far log Z of the logits has drifted from where it started, and what the number format makes of logits of that size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import History, Layer

_SPACING = {"bfloat16": 2.0**-7, "float16": 2.0**-10}
"""Distance of neighbouring numbers in [1, 2) of a format; any other is float32 or wider."""

_SINGLE = 2.0**-23

HALF = 0.5
"""Distance of neighbouring logits from which rounding matters: it changes a probability by up to e^¼, 28 %."""


class Drift(NamedTuple):
    """A layer whose logits have drifted.

    Attributes:
        layer: it.
        first, now: log Z at the first record, and the one nearest to 0 of the latest records.
        spacing: distance of neighbouring numbers of that size in the format of the logits.
    """

    layer: Layer
    first: float
    now: float
    spacing: float

    @property
    def is_coarse(self) -> bool:
        """Whether the format of the logits rounds them visibly."""
        return self.spacing >= HALF


def drifts(history: History, records: int, least: float) -> list[Drift]:
    """Return the layers whose log Z was beyond ``least`` on one side at each of the last records, and twice as far as at first."""
    recent = history.records[-records:]
    found: list[Drift] = []
    if len(recent) < records:
        return found
    first, latest = history.records[0].layer_table, recent[-1].layer_table
    # Of hundreds of layers one or two have logits, and those are seldom that far.
    far = np.flatnonzero(np.abs(latest.column(Quantity.LOG_PARTITION)) >= least)
    if not far.size:
        return found
    names = {latest.names[place] for place in far.tolist()}
    for layer in (one for one in history.structure.layers if one.name in names):
        start = first.at(layer.name, Quantity.LOG_PARTITION)
        values = [record.layer_table.at(layer.name, Quantity.LOG_PARTITION) for record in recent]
        bar = max(least, 2 * abs(start))
        if all(value >= bar for value in values) or all(value <= -bar for value in values):
            now = min(values, key=abs)
            found.append(Drift(layer, start, now, spacing_at(now, layer.dtype)))
    return found


def spacing_at(value: float, dtype: str) -> float:
    """Return the distance of neighbouring numbers of a size in a format.

    >>> spacing_at(100.0, "bfloat16"), spacing_at(-100.0, "float16")
    (0.5, 0.0625)
    """
    if not math.isfinite(value) or value == 0:
        return math.inf if math.isinf(value) else 0.0
    return 2.0 ** (math.frexp(value)[1] - 1) * _SPACING.get(dtype, _SINGLE)
