"""A step in a few plain scalars, for charts that know nothing of layers. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis.medians import median
from init_monitor.display.residual_rows import is_aside
from init_monitor.records import Of
from init_monitor.records.facts import LOG
from init_monitor.records.once import once
from init_monitor.records.registry import quantities
from init_monitor.records.tags import scalar_tag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from init_monitor.records import Column, StepRecord, Structure
    from init_monitor.records.quantities import Quantity

LOG10_FLOOR = -90.0
"""Stands for log10 of zero: float32's smallest number is 1.4e-45, so no float32 tensor varies less than 2e-90."""

LOG10_CEILING = 77.1
"""Stands for log10 of infinity: float32's largest number is 3.4e38, whose square is 1.2e77."""


_STATISTICS: dict[str, Callable[[Column], float]] = {
    "min": lambda values: float(np.min(values)),
    "median": median,
    "max": lambda values: float(np.max(values)),
    "abs_median": lambda values: median(np.abs(values)),
}


def summary_scalars(
    record: StepRecord, structure: Structure | None = None, only: Mapping[Quantity, Sequence[str]] | None = None
) -> dict[str, float]:
    """Return the scalars of one step by tag, over all layers (parameters, residuals) where the quantity was measured.

    Tags of logarithms say so: ``init_monitor_summary/variance/log10_median``. The table of quantities says which there are; what was measured nowhere
    is left out, so that an empty chart never looks like a healthy one. Logarithms are finite, from
    ``LOG10_FLOOR`` to ``LOG10_CEILING``; no value is NaN.

    Args:
        record: the step.
        structure: says which residual additions lie outside the main stream (nested, long); they are left out.
        only: the statistics of each quantity that are wanted; all that there are where that is not said.
    """
    asides = _asides(structure) if structure is not None else frozenset()
    scalars: dict[str, float] = {}
    for quantity in quantities():
        wanted = quantity.facts.summary if only is None else only.get(quantity, ())
        if not wanted:
            continue
        values = _measured(record, quantity, asides)
        for statistic in wanted if values.size else ():
            number = _STATISTICS[statistic.removeprefix(LOG)](values)
            scalars[scalar_tag(quantity, statistic)] = log10(number) if statistic.startswith(LOG) else number
    return scalars


def log10(value: float) -> float:
    """Return the logarithm of a quantity that is never negative, within the floor and the ceiling.

    >>> log10(100.0), log10(0.0), log10(math.inf)
    (2.0, -90.0, 77.1)
    """
    if value <= 0:
        return LOG10_FLOOR
    return min(max(math.log10(value), LOG10_FLOOR), LOG10_CEILING)


@once
def _asides(structure: Structure) -> frozenset[str]:
    return frozenset(residual.name for residual in structure.residuals if is_aside(residual))


def _measured(record: StepRecord, quantity: Quantity, asides: frozenset[str]) -> Column:
    column = record.column(quantity)
    if asides and quantity.facts.of is Of.RESIDUAL:
        column = column[[name not in asides for name in record.residual_names]]
    measured: Column = column[~np.isnan(column)]
    return measured
