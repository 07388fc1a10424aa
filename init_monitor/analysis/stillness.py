"""Whether a network has not moved since its start, and how far its gradient reaches."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis.empty_batches import only_some_batches
from init_monitor.analysis.learning import CLEAR, course_of, learns_well, plays
from init_monitor.analysis.optimizers import epsilon_of
from init_monitor.records import Role
from init_monitor.records.once import once
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Column, History, Layer, StepRecord, Structure


MUCH = 4
"""One in so many of a run's steps that have no rate: of those that a schedule of the right length goes down to 0 in, a hundredth
has next to none."""


class Still(str, Enum):
    """Why a network does not move."""

    FROZEN = "frozen"
    """No parameter requires a gradient."""
    UNCONNECTED = "unconnected"
    """No parameter has a gradient at all."""
    BLOCKED = "blocked"
    """Every gradient is exactly zero."""
    ZEROED = "zeroed"
    """The gradient reaches the layers, and the optimizer gets none."""
    UNDONE = "undone"
    """Every step moves the weights, and before the next one they are where they were."""
    NO_RATE = "no rate"
    """The learning rate is zero."""
    SHRUNK = "shrunk"
    """The update is a thousandth or less of what rate and gradient give: the gradient is clipped away."""
    UNMOVED = "unmoved"
    """There is a gradient and a learning rate, but nothing moves."""


def has_no_gradient(record: StepRecord) -> bool:
    """Say whether no parameter of a step got a gradient. One that moved by an unmeasurable (sparse) gradient had one."""
    norms, moved = record.column(Quantity.WEIGHT_GRADIENT_NORM), record.column(Quantity.UPDATE_RATIO)
    broken = record.column(Quantity.WEIGHT_GRADIENT_NONFINITE_COUNT)
    return not ((norms > 0) | (broken > 0) | (np.isnan(norms) & (moved > 0))).any()


@once
def was_skipped(record: StepRecord) -> bool:
    """Say whether a gradient was not finite: a scaler skips such a step, and so may the program; IM601 reports it."""
    return bool((record.column(Quantity.WEIGHT_GRADIENT_NONFINITE_COUNT) > 0).any())


def how_it_stands(
    records: Sequence[StepRecord], structure: Structure, *, faint: float, shortfall: float
) -> Still | None:
    """Return why the network did not move in any of these records; ``None`` if it did.

    Args:
        records: from the start on, without those whose gradient was not finite.
        structure: the network.
        faint: ‖Δw‖/‖w‖ below which a gradient that was clipped away counts as no movement.
        shortfall: the same relative to what rate and gradient give.
    """
    last = records[-1]
    if not last.parameter_names:
        return None
    if (last.column(Quantity.TRAINABLE) == 0).all():
        return Still.FROZEN
    if all(map(has_no_gradient, records)):
        return _without_gradient(records, structure)
    if all(map(_is_at_rest, records)):
        return Still.NO_RATE if all(record.learning_rate == 0 for record in records) else Still.UNMOVED
    if _is_put_back(records, faint):
        return Still.UNDONE
    started = _started(records[0])
    return Still.SHRUNK if all(_is_shrunk(record, started, faint, shortfall) for record in records) else None


def _without_gradient(records: Sequence[StepRecord], structure: Structure) -> Still:
    if all(_reaches_a_weight(record, structure) for record in records):
        return Still.ZEROED
    none = all(np.isnan(record.column(Quantity.WEIGHT_GRADIENT_NORM)).all() for record in records)
    return Still.UNCONNECTED if none else Still.BLOCKED


def _reaches_a_weight(record: StepRecord, structure: Structure) -> bool:
    """Say whether a layer receives a signal, gets a gradient at its output, and so has one for its weight that is not seen.

    In float16 the product of two small numbers is 0, so that this says nothing there.
    """
    arrives, comes = (
        record.layer_table.by_name(q) for q in (Quantity.INPUT_MEAN_SQUARE, Quantity.GRADIENT_MEAN_SQUARE)
    )
    trained = record.parameter_table.by_name(Quantity.TRAINABLE)
    return any(
        layer.role is Role.WEIGHT
        and layer.dtype != "float16"
        and trained.get(layer.weight, 0) > 0
        and arrives.get(layer.name, 0.0) > 0
        and comes.get(layer.name, 0.0) > 0
        for layer in structure.layers
    )


def _is_put_back(records: Sequence[StepRecord], faint: float) -> bool:
    """Say whether the weights are the same numbers in all records although every step moves them."""
    first = records[0]
    for record in records[1:]:
        if record.parameter_names != first.parameter_names:
            return False
        same = [(record.column(q) == first.column(q)).all() for q in (Quantity.WEIGHT_NORM, Quantity.WEIGHT_MEAN)]
        if not all(same):
            return False
    return all(bool((record.column(Quantity.UPDATE_RATIO) > faint).all()) for record in records)


def _is_at_rest(record: StepRecord) -> bool:
    """Say whether no parameter moved in a step. NaN, where it was not measured, does not count as standing still."""
    moved = record.column(Quantity.UPDATE_RATIO)
    return bool((moved == 0).any() and not (moved > 0).any())


def out_of_rate(history: History, *, part: float, steps: int) -> int | None:
    """Return the step from which on the learning rate was next to 0, where that is much of the run or came before it learned.

    Every schedule ends near 0, but at its end, after the loss has fallen.

    Args:
        history: from the start on.
        part: of the largest rate that is next to 0.
        steps: the fewest for which this must have lasted; it must also be a quarter of the run.
    """
    rates = np.array([record.learning_rate for record in history.records])
    at = [record.step for record in history.records]
    if not np.isfinite(rates).all() or not rates.max() > 0 or at[0] != 0:
        return None
    gone = rates <= part * rates.max()
    if not gone[-1] or gone[: int(rates.argmax()) + 1].any():
        return None
    first = len(gone) - int(np.argmin(gone[::-1]))
    if at[-1] - at[first] >= max(steps, at[-1] / MUCH):
        return at[first]
    course = course_of(history.losses)
    stayed = course.first - course.last < CLEAR * course.scale and math.isfinite(course.newest)
    return at[first] if stayed and not course.goes_on and not plays(history.records) else None


def expected_updates(record: StepRecord) -> Column:
    """Return ‖Δw‖/‖w‖ of each parameter as its gradient and the learning rate give it; NaN where that is not known."""
    optimizer, norms = record.optimizer.casefold(), record.column(Quantity.WEIGHT_GRADIENT_NORM)
    counts, weights = record.column(Quantity.WEIGHT_COUNT), record.column(Quantity.WEIGHT_NORM)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if optimizer == "sgd":
            return np.where(weights > 0, record.learning_rate * norms / weights, np.nan)
        if optimizer in {"adam", "adamw"}:
            # Far above epsilon the size of the gradient is divided out: every element moves by about the rate.
            above = norms / np.sqrt(counts) > 1e3 * (epsilon_of(optimizer) or 0.0)
            return np.where(above & (weights > 0), record.learning_rate * np.sqrt(counts) / weights, np.nan)
    return np.full(len(norms), np.nan)


def _started(record: StepRecord) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return which parameters did not start at zero: a relative update of zero weights has no meaning."""
    started: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = record.column(Quantity.WEIGHT_NORM) > 0
    started &= record.column(Quantity.TRAINABLE) != 0
    return started


def _is_shrunk(
    record: StepRecord, started: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], faint: float, shortfall: float
) -> bool:
    moved = record.column(Quantity.UPDATE_RATIO)
    if started.shape != moved.shape or not record.learning_rate > 0:
        return False
    wanted = expected_updates(record)
    judged = started & np.isfinite(moved) & (wanted > 0)
    if not judged.any():
        return False
    others = moved[started & np.isfinite(moved)]
    return bool(others.max() < faint and (moved[judged] < shortfall * wanted[judged]).all())


def end_of_gradient(history: History) -> Layer | None:
    """Return the layer that the gradient reaches last on its way to the input; ``None`` if it reaches none."""
    record = history.last
    square, variance = record.column(Quantity.GRADIENT_MEAN_SQUARE), record.column(Quantity.GRADIENT_VARIANCE)
    alive = np.flatnonzero(np.nan_to_num(np.where(np.isnan(square), variance, square), nan=0.0) > 0)
    known = history.structure.by_name()
    return known.get(record.names[int(alive[0])]) if alive.size else None


def last_off(history: History) -> Layer | None:
    """Return the last activation that gives one number for all that it receives, though that varies; ``None`` if none does."""
    varies = history.last.layer_table.by_name(Quantity.VARIANCE)
    known = history.structure.by_name()
    for layer in reversed(history.structure.layers):
        fed = [name for name in layer.inputs if name in known]
        if layer.role is Role.ACTIVATION and varies.get(layer.name) == 0 and any(varies.get(n, 0.0) > 0 for n in fed):
            return layer
    return None


def rests_since(history: History, *, least: int, steps: int) -> int | None:
    """Return the step since which every gradient is exactly 0 in a run that had one; ``None`` if it has, or has learned its task.

    A loss that is 0, or far below its start, asks for nothing any more (margins that all samples keep), and single batches may ask
    for nothing while others do.

    Args:
        history: up to now.
        least: records in a row, up to the last, that must show it.
        steps: optimizer steps that they span.
    """
    resting: list[StepRecord] = []
    for record in reversed(history.records):
        if not has_no_gradient(record) or not (record.column(Quantity.WEIGHT_GRADIENT_NORM) == 0).any():
            break
        resting.append(record)
    if not least <= len(resting) < len(history.records) or resting[0].step - resting[-1].step < steps:
        return None
    newest = course_of(history.losses).newest
    rests = [has_no_gradient(record) for record in history.records]
    if newest == 0 or learns_well(history) or only_some_batches(history.records, resting, rests):
        return None
    return resting[-1].step


def is_output(layer: Layer, structure: Structure) -> bool:
    """Say whether no weight layer and no normalisation comes after a layer."""
    return not any(other.role in {Role.WEIGHT, Role.NORMALISATION} for other in structure.layers[layer.depth + 1 :])
