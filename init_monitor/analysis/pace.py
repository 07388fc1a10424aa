"""How far the weights move in one step: ‖Δw‖/‖w‖ over the layers, and the gradient behind it, ‖g‖/‖w‖."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.medians import median
from init_monitor.analysis.optimizers import epsilon_of
from init_monitor.records import Role
from init_monitor.records.once import once
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from init_monitor.records import Column, History, StepRecord, Structure

HEALTHY_UPDATE = Quantity.UPDATE_RATIO.facts.healthy or (math.nan, math.nan)
"""‖Δw‖/‖w‖ of one step within which a weight learns: more than a decade around the usual 1e-3. Below,
thousands of steps change nothing; above, ten steps replace the weight."""

USUAL_UPDATE = math.sqrt(math.prod(HEALTHY_UPDATE))
"""The middle of it, in logarithm."""

FEW_STEPS = 10
"""Optimizer steps over which growth of the weights is called sudden: as many as the default dense start."""

FAINT = 1e-2
"""fan_in · E[w²] below which a weight is small for what its layer reads: a tenth of the size that passes what it receives (1), from
which layers behind a normalisation may start. A step is large or not beside that, however much less there is."""

_NOT_JUDGED = frozenset({"Embedding", "EmbeddingBag"})
"""A step changes only those rows of an embedding that were looked up: its ratio says how rare they are."""


class Pace(NamedTuple):
    """How far the weights moved in one step.

    Attributes:
        record: of the step.
        low: over the layers, the lower median of ‖Δw‖/‖w‖, where a weight that is far smaller than its layer needs counts as one of
            a tenth of that size: what began near 0 is soon many times as large.
        high: the upper median of ‖Δw‖/‖w‖ as it is.
        pull: the upper median of ‖g‖/‖w‖, which plain gradient descent multiplies by its learning rate; NaN if unknown.
    """

    record: StepRecord
    low: float
    high: float
    pull: float


@once
def weights_of(structure: Structure) -> frozenset[str]:
    """Return the names of the parameters that mix units: the weights of weight layers, recurrent ones and all."""
    return frozenset(
        name
        for layer in structure.layers
        for name in weights_among(layer.role, layer.kind, layer.weight, layer.parameters)
    )


def weights_among(role: str, kind: str, weight: str, parameters: Iterable[str]) -> Iterator[str]:
    """Return the names of one layer's parameters that mix units, from what a stored run says of it."""
    if role == Role.WEIGHT.value and kind not in _NOT_JUDGED:
        for name in (weight, *parameters):
            if name and (name == weight or "weight" in name.rpartition(".")[2]):
                yield name


def judged_weights(history: History) -> frozenset[str]:
    """Return the weights whose updates count: those that did not start at zero."""
    return _judged(history.records[0], history.structure)


@once
def _judged(record: StepRecord, structure: Structure) -> frozenset[str]:
    norms = _norms(record)
    return frozenset(name for name in weights_of(structure) if norms.get(name) != 0)


def pace_of(record: StepRecord, judged: frozenset[str], structure: Structure) -> Pace | None:
    """Return how far the ``judged`` weights moved in a step; ``None`` if none of them was measured."""
    medians = _medians(record, judged, structure)
    return None if medians is None else Pace(record, *medians)


def paces_of(records: Iterable[StepRecord], judged: frozenset[str], structure: Structure) -> list[Pace]:
    """Return how far the ``judged`` weights moved in each of these steps, without those in which none of them was measured."""
    return [pace for record in records if (pace := pace_of(record, judged, structure)) is not None]


@once
def _medians(record: StepRecord, judged: frozenset[str], structure: Structure) -> tuple[float, float, float] | None:
    """Return the lower and the upper median of ‖Δw‖/‖w‖, and the upper one of ‖g‖/‖w‖."""
    inside = np.array([name in judged for name in record.parameter_names], dtype=bool)
    # NaN, where it was not measured, counts as trained.
    inside &= record.column(Quantity.TRAINABLE) != 0
    moved = record.column(Quantity.UPDATE_RATIO)
    ratios = _sorted(moved[inside])
    if not ratios.size:
        return None
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        large = _sorted(
            (moved / np.fmax(1.0, least_norms(record, structure) / record.column(Quantity.WEIGHT_NORM)))[inside]
        )
        pulls = record.column(Quantity.WEIGHT_GRADIENT_NORM) / record.column(Quantity.WEIGHT_NORM)
    pulls = _sorted(pulls[inside])
    pull = float(pulls[pulls.size // 2]) if pulls.size else math.nan
    return float(large[(large.size - 1) // 2]), float(ratios[ratios.size // 2]), pull


@once
def least_norms(record: StepRecord, structure: Structure) -> Column:
    """Return the norm of each parameter at :data:`FAINT`; NaN where it does not mix units, or its fan is not known."""
    return np.sqrt(FAINT * record.column(Quantity.WEIGHT_COUNT) / _fans(structure, record.parameter_names))


@once
def _fans(structure: Structure, names: tuple[str, ...]) -> Column:
    known = {layer.weight: float(layer.fan_in) for layer in structure.layers if layer.fan_in > 0}
    return np.array([known.get(name, math.nan) for name in names])


def _sorted(values: Column) -> Column:
    return np.sort(values[~np.isnan(values)])


def pull_of(stretch: Sequence[Pace]) -> float:
    """Return the median of ‖g‖/‖w‖ where the optimizer multiplies it by its learning rate; infinite if it rescales it."""
    if epsilon_of(stretch[-1].record.optimizer) is not None:
        return math.inf
    pulls = [pace.pull for pace in stretch if not math.isnan(pace.pull)]
    return median(pulls) if pulls else math.inf


def growth_of(history: History) -> tuple[float, int]:
    """Return how many times larger all weights together have become in a few steps, and in how many; NaN if unknown."""
    last = history.last
    recent = [r for r in history.records if last.step - r.step <= FEW_STEPS]
    before, now = (_norm_of_all(record, history.structure) for record in (recent[0], last))
    steps = last.step - recent[0].step
    return (now / before, steps) if before > 0 and steps > 0 else (math.nan, 0)


@once
def _norm_of_all(record: StepRecord, structure: Structure) -> float:
    inside = [name in weights_of(structure) for name in record.parameter_names]
    norms = record.column(Quantity.WEIGHT_NORM)
    # From exactly 0 a weight has no size to grow from.
    norms = np.where(norms > 0, np.fmax(norms, least_norms(record, structure)), norms)[inside]
    return math.hypot(*norms.tolist())


def _norms(record: StepRecord) -> dict[str, float]:
    return dict(zip(record.parameter_names, record.column(Quantity.WEIGHT_NORM).tolist(), strict=True))
