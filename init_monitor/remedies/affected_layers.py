"""Which other layers need the same remedy: repairing half of a badly initialised network does not help.

A finding names the layers where the symptom shows. Its code also covers those whose weights are off in the same way
without showing the symptom: the first or last layer of a segment, a parallel path, a constant layer next to a random one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis import residual_branches
from init_monitor.analysis.forward_growth import BLAME_FACTOR
from init_monitor.analysis.gains import healthy_gain
from init_monitor.analysis.segments import log_of
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from init_monitor.records import History, Layer


def off_too(named: Iterable[Layer], history: History, *, direction: int) -> list[Layer]:
    """Return the named layers and those whose first weights are off in the same direction, in execution order.

    Left out, unless named, are layers whose scale does not matter or is meant: before a normalisation, in a residual
    block, an embedding, and one of constant weights.

    Args:
        named: the layers of a finding.
        history: its first record is judged.
        direction: 1 for weights that are too large, -1 for ones that are too small.
    """
    first, chosen = history.records[0], {layer.name for layer in named}
    given = dict(zip(first.names, first.column(Quantity.EXPECTED_GAIN).tolist(), strict=True))
    inside = {name for residual in history.structure.residuals for name in residual.layers}
    for layer in history.structure.layers:
        if layer.role is not Role.WEIGHT or layer.normalised or layer.name in inside or layer.is_embedding:
            continue
        excess = log_of(np.array([given.get(layer.name, math.nan), healthy_gain(layer)]))
        if direction * float(excess[0] - excess[1]) > math.log(BLAME_FACTOR):
            chosen.add(layer.name)
    return [layer for layer in history.structure.layers if layer.name in chosen]


def constant_too(named: Iterable[Layer], history: History) -> list[Layer]:
    """Return the named layers and all others of constant weights, in execution order.

    Left out, unless one of them is named, are the ends of residual branches, which may start at zero.
    """
    last, chosen = history.last, {layer.name for layer in named}
    where = {name: i for i, name in enumerate(last.parameter_names)}
    variance, count = last.column(Quantity.WEIGHT_VARIANCE), last.column(Quantity.WEIGHT_COUNT)
    ends = {
        end.name
        for r in history.structure.residuals
        if (end := residual_branches.end_of(r, history.structure)) is not None
    }
    ends = set() if ends & chosen else ends
    for layer in history.structure.layers:
        at = where.get(layer.weight)
        if at is None or layer.role is not Role.WEIGHT or layer.name in ends:
            continue
        if variance[at] == 0 and count[at] > 1:
            chosen.add(layer.name)
    return [layer for layer in history.structure.layers if layer.name in chosen]
