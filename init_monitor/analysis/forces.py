"""What moved the weights of a run: the gradient, weight decay, or a learning rate that was too large."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.optimizers import epsilon_of
from init_monitor.analysis.pace import weights_of
from init_monitor.analysis.segments import bounded_exp
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Collection

    from init_monitor.records import History, StepRecord

DECOUPLED = ("adamw", "nadamw", "lion", "lamb", "adafactor")
"""Parts of the class names of optimizers that rescale each gradient and apply the decay to the weight separately."""


OUTSIDE = 0.05
"""Part of a norm that changes in one step without the optimizer, from which something else changes the weights: above the
rounding of half precision (0.004), and far above what a projection onto a sphere or a spectral norm does at usual rates."""


class Decay(NamedTuple):
    """What weight decay does to the weights.

    Attributes:
        value: of the optimizer's groups, the largest.
        per_step: fraction of a weight that it removes per step; NaN where it is rescaled along with the gradient.
        of_the_gradient: decay term over the loss's own gradient, where the optimizer adds the two; else NaN.
        explained: fraction of the weights' shrinking, in logarithm, that it accounts for.
    """

    value: float
    per_step: float
    of_the_gradient: float
    explained: float


def decay_of(history: History, weights: Collection[str] = ()) -> Decay | None:
    """Return what weight decay did to the weights since the first record; ``None`` if there is none.

    Args:
        history: what was measured.
        weights: names of the parameters; those of all weight layers if empty.
    """
    last = history.last
    if not last.weight_decay > 0:
        return None
    names = frozenset(weights) or weights_of(history.structure)
    shrunk = -_log_norm(last, names) + _log_norm(history.records[0], names)
    ratios = [last.weight_decay * _ratio(record, names) for record in history.records]
    beside = float(np.nanmedian(ratios)) if not all(map(math.isnan, ratios)) else math.nan
    if _is_rescaled(last.optimizer):
        return Decay(last.weight_decay, math.nan, beside, 1.0 if beside >= 1 else 0.0)
    per_step = last.learning_rate * last.weight_decay / _persistence(last)
    taken = sum(
        record.learning_rate * record.weight_decay / _persistence(record) * (after.step - record.step)
        for record, after in zip(history.records[:-1], history.records[1:], strict=True)
    )
    return Decay(last.weight_decay, per_step, beside, taken / shrunk if shrunk > 0 else 0.0)


class Outside(NamedTuple):
    """A change of weights that the optimizer did not make.

    Attributes:
        step: the optimizer step after which it was made.
        to: what it left of the weights' norm, over what it was.
        moved: by how much of their norm the optimizer's step changed them.
    """

    step: int
    to: float
    moved: float


def outside_of(history: History, weights: Collection[str] = ()) -> Outside | None:
    """Return the largest change between two steps in a row that the optimizer's own step cannot have made; ``None`` if none was.

    By the triangle inequality a step changes a norm by no more than its own.

    Args:
        history: what was measured.
        weights: names of the parameters; those of all weight layers if empty.
    """
    names = frozenset(weights) or weights_of(history.structure)
    found: Outside | None = None
    for record, after in zip(history.records[:-1], history.records[1:], strict=True):
        if after.step != record.step + 1:
            continue
        norms, ratios = (record.parameter_table.by_name(q) for q in (Quantity.WEIGHT_NORM, Quantity.UPDATE_RATIO))
        known = [name for name in names if norms.get(name, 0.0) > 0 and ratios.get(name, math.nan) >= 0]
        before = math.hypot(*(norms[name] for name in known))
        moved = math.hypot(*(norms[name] * ratios[name] for name in known))
        later = after.parameter_table.by_name(Quantity.WEIGHT_NORM)
        now = math.hypot(*(later.get(name, math.nan) for name in known))
        if known and abs(now - before) > moved + OUTSIDE * before and (found is None or now / before < found.to):
            found = Outside(record.step, now / before, moved / before)
    return found


def shrinking(history: History, weights: Collection[str]) -> float:
    """Return how many times smaller the weights are, by their norm together, than at the first record; NaN if unknown."""
    return bounded_exp(_log_norm(history.records[0], weights) - _log_norm(history.last, weights))


def _persistence(record: StepRecord) -> float:
    """Return 1 − momentum where each step acts for 1/(1 − momentum) steps: plain SGD accumulates it, decay included."""
    if epsilon_of(record.optimizer) is not None or not 0 <= record.momentum < 1:
        return 1.0
    return 1.0 - record.momentum


def _is_rescaled(optimizer: str) -> bool:
    """Say whether the decay is added to the gradient before that is divided by its size."""
    return epsilon_of(optimizer) is not None and not any(name in optimizer.casefold() for name in DECOUPLED)


def _log_norm(record: StepRecord, names: Collection[str]) -> float:
    norms = record.parameter_table.by_name(Quantity.WEIGHT_NORM)
    norm = math.hypot(*(norms[name] for name in names if norms.get(name, math.nan) >= 0))
    return math.log(norm) if norm > 0 else math.nan


def _ratio(record: StepRecord, names: Collection[str]) -> float:
    """Return ‖w‖/‖g‖, of all these weights together."""
    norms, gradients = (
        record.parameter_table.by_name(quantity) for quantity in (Quantity.WEIGHT_NORM, Quantity.WEIGHT_GRADIENT_NORM)
    )
    gradient = math.hypot(*(gradients[name] for name in names if gradients.get(name, math.nan) >= 0))
    return (
        math.hypot(*(norms[name] for name in names if norms.get(name, math.nan) >= 0)) / gradient
        if gradient
        else math.nan
    )
