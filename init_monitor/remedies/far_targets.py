"""IM603 where the loss is one that no step of a size of its own brings down: its targets are out of reach."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.analysis.learning import LONG, Learning, course_of, learning_of
from init_monitor.analysis.optimizers import epsilon_of
from init_monitor.records import Figure, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import outsized_loss, phrases

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from init_monitor.records import Finding, History, Layer, StepRecord

    MakeFinding = Callable[[History, Severity, str, Mapping[str, Figure]], Finding]

FAR = 1e4
"""A loss from which squared errors are those of targets a hundred times the size that networks start with."""

LITTLE = 0.01
"""Part of the loss up to which the output's own mean square explains none of it."""

SQUARED, SQUARED_RECORDS = 0.01, 3
"""How far the size of a squared error may be from what its gradient says, (2 e / n)² for the mean over n, in so many records in a row."""

UNEVEN = (
    "Where some samples have far larger targets than others (-noise / sigma of a score), weigh each by one over its square (sigma²), or"
    " predict what is left without the factor (the noise)."
)
"""What else to do about targets that are out of reach."""


def found(history: History, make: MakeFinding) -> Finding | None:
    """Return the finding about a loss that its targets make, and that steps of a size of their own do not bring down."""
    loss, ends = outsized_loss.first_loss(history), [x for x in history.structure.layers if x.role is Role.WEIGHT]
    rescales = epsilon_of(history.last.optimizer) is not None
    if not (loss >= FAR and rescales and ends) or not _stays(ends[-1], history):
        return None
    square = history.last.layer_table.at(ends[-1].name, Quantity.MEAN_SQUARE)
    if not square <= LITTLE * loss:
        return None
    message = (
        f"The loss has not left its level of {phrases.number(loss)}, and the output has a mean square of {phrases.number(square)}:"
        f" what it is compared with is out of reach. {history.last.optimizer} divides the size of the gradient out, so the steps are"
        " no larger for a loss that is."
    )
    return replace(
        make(history, Severity.WARNING, message, {"loss": Figure(loss), "output_mean_square": Figure(square)}),
        expected={"loss": Figure(1.0, "about, for standardised targets")},
        remedy=outsized_loss.before_the_rate(history) + UNEVEN,
    )


def _stays(end: Layer, history: History) -> bool:
    """Say whether the loss is level; or, where its noise hides that, is the squared error of an output, and most of it is left.

    What is left of a squared error is what the output has not reached, however much the batches differ.
    """
    learning, course = learning_of(history), course_of(history.losses)
    if learning is not Learning.UNKNOWN or course.known < 2 * LONG or course.last < course.first / 2:
        return learning is Learning.LEVEL
    return all(_is_squared_error(end, record) for record in history.records[-SQUARED_RECORDS:])


def _is_squared_error(end: Layer, record: StepRecord) -> bool:
    """Say whether the loss is the squared error of an output, of its elements or of its rows: then the gradient gives its size."""
    table = record.layer_table
    size = table.at(end.name, Quantity.GRADIENT_MEAN_SQUARE) * table.at(end.name, Quantity.COUNT) ** 2 / 4
    return (
        any(abs(record.loss * each / size - 1) <= SQUARED for each in (1, max(end.fan_out, 1))) if size > 0 else False
    )
