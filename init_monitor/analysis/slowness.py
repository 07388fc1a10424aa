"""Whether weights move too little for their loss: by the way they have gone, by what their format swallows, by their start."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis.bounded import is_fresh
from init_monitor.analysis.dtypes import format_of
from init_monitor.analysis.learning import LONG, Learning, learning_of, learns_well
from init_monitor.analysis.medians import median
from init_monitor.analysis.optimizers import epsilon_of
from init_monitor.analysis.pace import pace_of
from init_monitor.analysis.stillness import expected_updates
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.analysis.pace import Pace
    from init_monitor.records import Column, History, StepRecord, Structure

TRAVELLED = 0.03
"""Way that weights have gone since the start, in parts of their size and if all steps went one way, on which nothing was learned in
any of 84 small programs: they had gone 0.085 and more when their loss was first seen to fall."""

USABLE = 1e-4
"""‖Δw‖/‖w‖ of one step from which a weight learns, the lower end of what is usual."""

LONGEST_START = 2000
"""Steps after which a warm-up should have come to usable updates: those of 500 to 10,000 steps are at a tenth of their rate, or
far beyond, by then."""

FEW_DIGITS = frozenset({"bfloat16", "float16"})
"""Formats to which an update of a healthy size may be too small to be added."""

SHORT = 1e-2
"""Part of the step that rate and gradient give which is taken at least: noise that cancels in Adam's mean leaves a tenth or more of it, an
element in a thousand that has a gradient a thirtieth, and clips to a tenth of a gradient are common."""

_FULL_AT_FIRST = frozenset({"adagrad", "adamax", "nadam", "rmsprop"})
"""Optimizers whose first step moves every element by the rate or more, as Adam's does; their later ones differ."""

_DRAWN = 0.05
"""Part by which the variance of a weight may differ from one that an initialiser draws; what has learned a task has moved further."""


def least_pace(history: History, judged: frozenset[str], *, small: float, slow: float) -> float:
    """Return ‖Δw‖/‖w‖ of one step below which a run moves too little.

    Args:
        history: what was measured.
        judged: names of the weights that count.
        small: where the loss falls, or is not known.
        slow: where it has stayed at its level; more in the first steps, in which a weight comes nowhere by it.
    """
    if learning_of(history) is not Learning.LEVEL:
        return small
    steps = history.last.step + 1
    if history.records[0].step > 0 or steps < 2 * LONG or not way_of(history, judged) < TRAVELLED:
        return slow
    return max(slow, 2 * TRAVELLED / steps)


def way_of(history: History, judged: frozenset[str]) -> float:
    """Return how far the weights have gone since the first record, in parts of their size and if all steps went one way."""
    way, before = 0.0, history.records[0].step
    for record in history.records:
        pace = pace_of(record, judged, history.structure)
        if pace is not None:
            way += pace.high * (record.step - before)
            before = record.step
    return way


def shortest(paces: Sequence[Pace], records: int, steps: int) -> list[Pace]:
    """Return the latest paces that are as many, and span as many steps, as asked for; none if there are not so many."""
    for i in range(len(paces) - records, -1, -1):
        if paces[-1].record.step - paces[i].record.step >= steps:
            return list(paces[i:])
    return []


def slow_layers(record: StepRecord, history: History, judged: frozenset[str], bar: float) -> tuple[str, ...]:
    """Return the layers whose weights a step changes by less than ``bar`` of their size, in execution order; none if that is all of them."""
    moved = record.parameter_table.by_name(Quantity.UPDATE_RATIO)
    known = {x.module: x for x in history.structure.layers if x.weight in judged and moved.get(x.weight, math.nan) >= 0}
    slow = tuple(layer.name for layer in known.values() if moved[layer.weight] < bar)
    return slow if len(slow) < len(known) else ()


def usable_after(stretch: Sequence[Pace]) -> float:
    """Return the step at which updates that grow with the step as they do now would be usable; 0 if the rate does not grow."""
    first, last = stretch[0], stretch[-1]
    if not last.record.learning_rate > first.record.learning_rate:
        return 0.0
    grown, steps = last.high - first.high, last.record.step - first.record.step
    return last.record.step + (USABLE - last.high) * steps / grown if grown > 0 and steps > 0 else 0.0


def rounded_away(records: Sequence[StepRecord], history: History, judged: frozenset[str]) -> tuple[str, float] | None:
    """Return the format of the weights and ‖Δw‖/‖w‖ of their updates, where half of them get less than the format adds.

    What is added to a number and is less than half of the distance to the next one is rounded away: of an update that is as small
    relative to its weight, most. ``None`` where that is not so in all records, or the run learns well all the same.
    """
    dtype = records[-1].weight_dtype
    if dtype not in FEW_DIGITS or records[-1].loss_scaled:
        return None
    sizes = [_median_update(record, judged) for record in records]
    if not all(0 < size < format_of(dtype).spacing / 2 for size in sizes) or learns_well(history):
        return None
    return dtype, median(sizes)


def short_of_its_rate(history: History, judged: frozenset[str]) -> float:
    """Return the part that is taken of the step that rate and gradient give, where that is next to nothing; NaN elsewhere.

    An epsilon far above the gradient swallows Adam's steps, a clip far below it those of SGD. From step 0 on: what an optimizer
    remembers of other gradients changes later steps, but not the first.
    """
    first, last = history.records[0], history.last
    if first.step > 0 or not last.stepped:
        return math.nan
    # The later steps of SGD hold what momentum has added up.
    looked = (first,) if epsilon_of(last.optimizer) is None else (first, last)
    parts = [_part_of_step(record, judged) for record in looked]
    return parts[-1] if all(0 < part < SHORT for part in parts) else math.nan


def _part_of_step(record: StepRecord, judged: frozenset[str]) -> float:
    """Return the upper median of ‖Δw‖ over what rate and gradient would make it; NaN where that is not known."""
    inside = np.array([name in judged for name in record.parameter_names], dtype=bool)
    wanted, moved = _full_steps(record)[inside], record.column(Quantity.UPDATE_RATIO)[inside]
    known = (wanted > 0) & np.isfinite(moved)
    if record.weight_dtype in FEW_DIGITS or not known.any():  # what a format rounds away is another thing
        return math.nan
    parts = np.sort(moved[known] / wanted[known])
    return float(parts[parts.size // 2])


def _full_steps(record: StepRecord) -> Column:
    """Return ‖Δw‖/‖w‖ of each parameter at a first step as rate and gradient give it, at least; NaN where that is not known."""
    if record.optimizer.casefold() not in _FULL_AT_FIRST:
        return expected_updates(record)
    counts, weights = record.column(Quantity.WEIGHT_COUNT), record.column(Quantity.WEIGHT_NORM)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rms = record.column(Quantity.WEIGHT_GRADIENT_NORM) / np.sqrt(counts)
        above = rms > 1e3 * (epsilon_of(record.optimizer) or 0.0)
        return np.where(above & (weights > 0), record.learning_rate * np.sqrt(counts) / weights, np.nan)


def _median_update(record: StepRecord, judged: frozenset[str]) -> float:
    """Return the lower median over the weights of the update that rate and gradient give, or that was seen where it is larger."""
    inside = np.array([name in judged for name in record.parameter_names], dtype=bool)
    wanted, moved = expected_updates(record)[inside], record.column(Quantity.UPDATE_RATIO)[inside]
    known = np.sort(np.fmax(wanted, moved))
    known = known[np.isfinite(known)]
    return float(known[(known.size - 1) // 2]) if known.size else math.nan


def is_as_drawn(record: StepRecord, structure: Structure, judged: frozenset[str]) -> bool:
    """Say whether the weights of a first record look drawn by an initialiser, all of them, and not trained before."""
    variances = record.parameter_table.by_name(Quantity.WEIGHT_VARIANCE)
    counts = record.parameter_table.by_name(Quantity.WEIGHT_COUNT)
    layers = [layer for layer in structure.layers if layer.weight in judged and layer.weight in variances]
    return (
        bool(layers)
        and is_fresh(record, structure)
        and all(_is_drawn(variances[x.weight], counts[x.weight], x.fan_in, x.fan_out) for x in layers)
    )


def _is_drawn(variance: float, count: float, fan_in: float, fan_out: float) -> bool:
    if not (fan_in > 0 and fan_out > 0 and count > 1 and variance > 0):
        return False
    known = (1 / (3 * fan_in), 1 / fan_in, 2 / fan_in, 2 / (fan_in + fan_out))
    # The variance of n normal numbers is known to within sqrt(2 / n), of which three are taken.
    allowed = _DRAWN + 3 * math.sqrt(2 / count)
    return any(abs(variance / one - 1) <= allowed for one in known)
