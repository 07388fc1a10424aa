"""The finding about a loss that weight decay holds up (IM603): neither gets its way, and the network learns no more."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.analysis import forces
from init_monitor.analysis.learning import LONG, course_of, plays
from init_monitor.analysis.medians import median
from init_monitor.records import Figure, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import made_by_training, phrases

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from init_monitor.records import Finding, History, Layer, Structure

    MakeFinding = Callable[[History, Severity, str, Mapping[str, Figure]], Finding]

BALANCED = 0.3
"""Decay · ‖w‖ over ‖gradient‖ from which the gradient does little but undo what decay takes. Where the two balance, the gradient over all
data is as large as the decay's part, and that of a batch larger by its noise, up to three times; at a usual decay this is 0.1 or less."""

COSTS = 0.1
"""Part of the loss that decay / 2 · ‖w‖² of the output layer alone must be: what it could be worth to let these weights grow. Where all data
are one batch the two balance in the end at any decay, however little it costs."""

LEFT = 0.25
"""Part of its first value at which a loss counts as held up: a run that gets further has lost less to decay than it has won."""

RECORDS = 2
"""Sampled steps in a row, over so many steps as a level loss takes, that must show it."""


def found(history: History, make: MakeFinding) -> Finding | None:
    """Return the finding, or ``None`` where the output layer's gradient is not used up by its decay."""
    records, last, course = history.records[-RECORDS:], history.last, course_of(history.losses)
    end = _end(history.structure)
    decoupled = any(name in last.optimizer.casefold() for name in forces.DECOUPLED)
    if end is None or decoupled or not last.weight_decay > 0 or plays(history.records):
        return None
    if len(records) < RECORDS or last.step < 2 * LONG - 1 or last.step - records[0].step < LONG - 1:
        return None
    if not (course.last >= LEFT * course.first > 0):
        return None
    norms, gradients = ([r.parameter_table.at(end.weight, q) for r in records] for q in _NORMS)
    beside = [r.weight_decay * w / g if g > 0 else math.nan for r, w, g in zip(records, norms, gradients, strict=True)]
    cost = last.weight_decay / 2 * norms[-1] ** 2
    if not (min(beside) >= BALANCED and cost >= COSTS * course.last):
        return None
    part = median(beside)
    message = (
        f"Weight decay holds the loss at {phrases.number(course.last)} ({phrases.number(course.first)} at the start): it pulls the"
        f" weights of {end.shown} towards 0 with a force of {phrases.part(part)} the loss's own gradient there, so that most of what"
        " is learned in a step only undoes what decay took."
    )
    return replace(
        make(history, Severity.WARNING, message, {"decay_pull": Figure(part, "× ‖gradient‖")}),
        layers=(end.name,),
        expected={"decay_pull": Figure(BALANCED, "× ‖gradient‖, or less")},
        remedy=made_by_training.lower_decay(
            f"Lower the weight decay of {last.weight_decay:g}; the initial weights were fine.", history
        ),
    )


_NORMS = (Quantity.WEIGHT_NORM, Quantity.WEIGHT_GRADIENT_NORM)


def _end(structure: Structure) -> Layer | None:
    """Return the output layer, where its scale is not taken away by a normalisation behind it."""
    weights = [layer for layer in structure.layers if layer.role is Role.WEIGHT and layer.weight]
    return weights[-1] if weights and not weights[-1].normalised and weights[-1] is _last(structure) else None


def _last(structure: Structure) -> Layer | None:
    """Return the last layer that is no activation."""
    return next((layer for layer in reversed(structure.layers) if layer.role is not Role.ACTIVATION), None)
