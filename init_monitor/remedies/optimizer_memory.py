"""Steps that do not fit because of what an optimizer remembers: one giant gradient, or gradients for longer than their size."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis.learning import Learning, learning_of, learns_well
from init_monitor.analysis.medians import median
from init_monitor.analysis.optimizers import optimizer_code
from init_monitor.analysis.pace import HEALTHY_UPDATE, pace_of
from init_monitor.analysis.stillness import expected_updates
from init_monitor.records import Figure, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import learning_rate, phrases, snippets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from init_monitor.records import Finding, History, StepRecord

    MakeFinding = Callable[[History, Severity, str, Mapping[str, Figure]], Finding]

SPIKE = 1e3
"""A loss so many times its usual level, and higher than some before it, is a spike. The root of Adam's second moment, which its
steps are divided by, keeps sqrt(1 - 0.999) = 0.03 of its gradient, thirty times a usual one."""

SHORT = 0.01
"""Part of what rate and gradient give that is left of a step: noise alone leaves sqrt((1 - 0.9) / (1 + 0.9)) = 0.23 of it."""

RECORDS = 2
"""Sampled steps, the latest, in which it must be so."""

STEPS = 40
"""Optimizer steps after the spike from which they count: the first of Adam's moments has forgotten all but 0.9^40 = 0.015 of it by then;
before, it makes the steps large."""

DECADE = 10.0
"""The first beta remembers gradients for so many times as long as the second their sizes, from which the two look exchanged. Usually
it is a hundredth."""

BOUND = 1.0
"""Root mean square of a step, in learning rates, that Adam keeps (Kingma & Ba 2015, Sec. 2.1)."""

FEW = 3
"""Sampled steps after which the settings of an optimizer are judged."""

BETAS = ", betas=(0.9, 0.999)"


def found(history: History, judged: frozenset[str], make: MakeFinding) -> Finding | None:
    """Return what an optimizer of Adam's kind remembers that makes its steps too small or too large.

    Args:
        history: what was measured.
        judged: names of the weights that count.
        make: makes a finding of history, severity, message and evidence.
    """
    return _exchanged(history, judged, make) or _after_a_spike(history, judged, make)


def _exchanged(history: History, judged: frozenset[str], make: MakeFinding) -> Finding | None:
    """Return the finding about a first beta above the root of the second: then no step has a bound."""
    record, first, second = history.last, history.last.momentum, history.last.second_momentum
    # The settings of several optimizers cannot be told apart.
    if "," in record.optimizer or not (0 < first < 1 and 0 <= second < 1 and first * first >= second):
        return None
    longer = (1 - second) / (1 - first)
    size = _in_rates(record, judged)
    if len(history.records) < FEW or not (longer >= DECADE or size > BOUND):
        return None
    message = (
        f"{record.optimizer} with betas of {first:g} and {second:g} remembers gradients for {phrases.number(1 / (1 - first))} steps and"
        f" their sizes, by which it divides them, for {phrases.number(1 / (1 - second))}: when the gradient shrinks the steps grow, and"
        " nothing bounds them."
    )
    measured = {"momentum": Figure(first, "the first beta"), "second_momentum": Figure(second, "the second beta")}
    if size > BOUND:
        message += f" A step is now {phrases.number(size)} times its learning rate."
        measured["step_in_rates"] = Figure(size, "root mean square of a step / learning rate")
    return replace(
        make(history, Severity.WARNING, message, measured),
        expected={"momentum": Figure(math.sqrt(second), "the root of the second beta, or less (Zhang et al. 2022)")},
        remedy=snippets.advice(
            "Take betas of 0.9 and 0.999: the first must be below the root of the second. They look exchanged.",
            optimizer_code(record.optimizer, record.learning_rate, BETAS),
        ),
    )


def _in_rates(record: StepRecord, judged: frozenset[str]) -> float:
    """Return the lower median over the weights of the root mean square of a step, in learning rates; NaN if unknown."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        moved = record.column(Quantity.UPDATE_RATIO) * record.column(Quantity.WEIGHT_NORM)
        sizes = moved / np.sqrt(record.column(Quantity.WEIGHT_COUNT)) / record.learning_rate
    inside = np.array([name in judged for name in record.parameter_names], dtype=bool)
    known = np.sort(sizes[inside & np.isfinite(sizes)])
    return float(known[(known.size - 1) // 2]) if known.size else math.nan


def _after_a_spike(history: History, judged: frozenset[str], make: MakeFinding) -> Finding | None:
    """Return the finding about steps that have been nothing since a giant loss, though rate and gradient are as before."""
    spike = _spike(history)
    if spike is None or learns_well(history) or learning_of(history) is Learning.BROKEN:
        return None
    step, height = spike
    latest = [record for record in history.records if record.step >= step + STEPS and record.stepped][-RECORDS:]
    if len(latest) < RECORDS:
        return None
    left = [_left(record, judged) for record in latest]
    pace = pace_of(latest[-1], judged, history.structure)
    if pace is None or not all(share <= SHORT for share in left) or pace.high >= HEALTHY_UPDATE[0]:
        return None
    record = history.last
    message = (
        f"Since step {step}, whose loss was {phrases.times(height)} the usual one, {record.optimizer} hardly moves: a step is"
        f" {phrases.number(median(left))} of what its learning rate gives. It divides by the largest gradients that it remembers, and that"
        " one is among them"
        f" (for {_memory(record)} steps and more; for ever with amsgrad)."
    )
    return replace(
        make(
            history,
            Severity.WARNING,
            message,
            {"update_ratio": Figure(pace.high, "‖Δw‖/‖w‖ per step"), "step": Figure(step, "of the giant loss")},
        ),
        expected={"update_ratio": Figure(HEALTHY_UPDATE[0], "‖Δw‖/‖w‖ per step, or more")},
        remedy=snippets.advice(
            f"Look at the batch of step {step} (a broken target, a wrong unit), clip the gradient so that no batch can do this, and begin"
            " anew from before it, with a new optimizer and without amsgrad.",
            learning_rate.CLIP,
        ),
    )


def _spike(history: History) -> tuple[int, float] | None:
    """Return the step of the largest loss and how many times the median it was, if that is a spike."""
    values = history.losses.values.astype(np.float64)
    finite = np.isfinite(values)
    steps, values = history.losses.steps[finite], np.abs(values[finite])
    if not values.size:
        return None
    at, usual = int(np.argmax(values)), float(np.median(values))
    spiked = usual > 0 and values[at] >= SPIKE * usual and values[:at].min(initial=math.inf) * SPIKE <= values[at]
    return (int(steps[at]), float(values[at]) / usual) if spiked else None


def _left(record: StepRecord, judged: frozenset[str]) -> float:
    """Return the upper median over the weights of a step's part of what rate and gradient give; NaN if unknown."""
    inside = np.array([name in judged for name in record.parameter_names], dtype=bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (record.column(Quantity.UPDATE_RATIO) / expected_updates(record))[inside]
    known = np.sort(shares[np.isfinite(shares)])
    return float(known[known.size // 2]) if known.size else math.nan


def _memory(record: StepRecord) -> str:
    second = record.second_momentum
    return phrases.number(1 / (1 - second)) if 0 < second < 1 else "many"
