"""Learned numbers that multiply the loss, and nothing holds: it falls because they do.

Of a loss Σ exp(-s_i) · L_i the slope in s_i is -exp(-s_i) · L_i. Where every term has such a factor and no term of s stands beside
them, the slopes are as large as the loss, all together: Σ |∂L/∂s_i| = L, and ‖∂L/∂s‖ lies between L / √n and L. The loss can then
fall as far as it likes without a better answer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import History, StepRecord, Structure

MOST = 16
"""Numbers of such a parameter at most: the interval in which its slope must lie is √n wide, 4 for these."""

EXACT = 0.02
"""Part by which rounding may take it out of that interval: bfloat16 keeps 8 bits of a loss, 0.4 % of it, and of each term."""

RECORDS = 8
"""Records in a row that must all show it: no other gradient is as large as the loss eight times over, while the loss falls."""


class LossWeight(NamedTuple):
    """A parameter that multiplies the loss.

    Attributes:
        name: of the parameter.
        first, last: its mean at the first record and the last.
        fallen: factor by which the loss has fallen since the first record.
    """

    name: str
    first: float
    last: float
    fallen: float


def free_loss_weight(history: History) -> LossWeight | None:
    """Return the parameter that multiplies the loss in every record, and has made it smaller; ``None`` if there is none."""
    records = history.records
    first, last = records[0], history.last
    if len(records) < RECORDS or not (first.loss > last.loss > 0):
        return None
    for name in _free(history.structure, last):
        if all(_is_slope_of_loss(name, record) for record in records):
            before, now = (record.parameter_table.at(name, Quantity.WEIGHT_MEAN) for record in (first, last))
            if now > before:
                return LossWeight(name, before, now, first.loss / last.loss)
    return None


def _free(structure: Structure, record: StepRecord) -> list[str]:
    """Return the small parameters that belong to no layer."""
    held = {name for layer in structure.layers for name in (layer.weight, *layer.parameters)}
    return [
        name
        for name in record.parameter_names
        if name not in held and 0 < record.parameter_table.at(name, Quantity.WEIGHT_COUNT) <= MOST
    ]


def _is_slope_of_loss(name: str, record: StepRecord) -> bool:
    """Say whether a parameter's gradient is what the loss itself makes it, in one step."""
    table, loss = record.parameter_table, record.loss
    slope, count = table.at(name, Quantity.WEIGHT_GRADIENT_NORM), table.at(name, Quantity.WEIGHT_COUNT)
    least = loss / math.sqrt(count) if count > 0 else math.nan
    return (1 - EXACT) * least <= slope <= (1 + EXACT) * loss
