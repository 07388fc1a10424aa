"""How far a signal that explodes or vanishes is carried beyond the layers at fault. Pure.

Forward it is carried from a layer at fault to what follows, up to the next normalisation; a gradient is carried towards
the input, and no normalisation stops it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from init_monitor.records import Finding, Layer, StepRecord, Structure

CARRIED = frozenset({"exploding-activations", "vanishing-activations", "exploding-gradients", "vanishing-gradients"})
"""Rules about a signal, not about a single layer."""


def places_of(finding: Finding, record: StepRecord, structure: Structure) -> list[int]:
    """Return which layers of the record have the signal that a finding is about, without those that it names.

    A layer on the way from one at fault to another has it, and so has an activation that only passes it on. Where the
    way leads away from the last of them, the signal has to be nearer, on a logarithmic scale, to the worst at the layers at
    fault than to what reaches them.

    Args:
        finding: of a rule in :data:`CARRIED`.
        record: gives the size of the signal.
        structure: gives the ways.
    """
    known = structure.by_name()
    layers = [known.get(name) for name in record.names]
    number = {name: i for i, name in enumerate(record.names)}
    fed_by = [[number[name] for name in layer.inputs if name in number] if layer else [] for layer in layers]
    blamed = np.array([_is_named(name, layer, finding) for name, layer in zip(record.names, layers, strict=True)])
    if not blamed.any():
        return []
    backward = finding.rule.endswith("gradients")
    stops = np.array([not backward and layer is not None and layer.role is Role.NORMALISATION for layer in layers])
    behind, before = _behind(fed_by, blamed, stops), _before(fed_by, blamed, stops)
    onward = before if backward else behind
    between = behind & before
    column = record.column(Quantity.GRADIENT_VARIANCE if backward else Quantity.VARIANCE)
    beside = _takers(fed_by, blamed) if backward else np.isin(range(len(blamed)), _sources(fed_by, blamed))
    affected = between | (onward & _as_bad(column, blamed, beside, growing=finding.rule.startswith("exploding")))
    for i, layer in enumerate(layers):
        if layer is not None and layer.role is Role.ACTIVATION:
            affected[i] |= any(affected[j] or blamed[j] for j in fed_by[i])
    return np.flatnonzero(affected & ~blamed).tolist()


def _is_named(name: str, layer: Layer | None, finding: Finding) -> bool:
    own = {name} if layer is None else {name, layer.weight, layer.bias} - {""}
    return not own.isdisjoint(finding.layers)


def _behind(fed_by: Sequence[Sequence[int]], blamed: NDArray[np.bool_], stops: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say of each layer whether a way leads to it from a layer at fault; layers are in execution order."""
    reached = np.zeros(len(fed_by), bool)
    for i, sources in enumerate(fed_by):
        reached[i] = not stops[i] and any(blamed[j] or reached[j] for j in sources)
    return reached


def _before(fed_by: Sequence[Sequence[int]], blamed: NDArray[np.bool_], stops: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say of each layer whether a way leads from it to a layer at fault."""
    leads = np.zeros(len(fed_by), bool)
    for i in range(len(fed_by) - 1, -1, -1):
        if (blamed[i] or leads[i]) and not stops[i]:
            leads[list(fed_by[i])] = True
    return leads


def _sources(fed_by: Sequence[Sequence[int]], blamed: NDArray[np.bool_]) -> list[int]:
    """Return which layers feed one at fault."""
    return [j for i, sources in enumerate(fed_by) if blamed[i] for j in sources]


def _takers(fed_by: Sequence[Sequence[int]], blamed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say of each layer whether it is fed by one at fault."""
    return np.array([any(blamed[j] for j in sources) for sources in fed_by])


def _as_bad(
    variance: NDArray[np.float64], blamed: NDArray[np.bool_], beside: NDArray[np.bool_], *, growing: bool
) -> NDArray[np.bool_]:
    """Say of each layer whether its signal is nearer to the worst at the layers at fault than to what they got."""
    with np.errstate(divide="ignore"):
        level = np.log10(variance) * (1 if growing else -1)
    known = level[(blamed | beside) & np.isfinite(level)]
    worst = level[blamed & np.isfinite(level)]
    middle = (known.min() + worst.max()) / 2 if worst.size else np.inf
    with np.errstate(invalid="ignore"):
        as_bad: NDArray[np.bool_] = level > middle
    return as_bad
