"""What residual additions account for: growth of the stream itself, which is no layer's fault.

In ``x + F(x)`` the variance grows although every layer keeps it. Rules about layers look at what is left once the growth
of the additions is taken out; the growth itself is IM401's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis.segments import log_of
from init_monitor.analysis.stream_factors import fades
from init_monitor.analysis.tensor_factors import with_known_factors
from init_monitor.records import Role
from init_monitor.records.once import once
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Column, Residual, StepRecord, Structure


SHORT_BRANCH = 8
"""Weight layers up to which a branch is only a detour next to the stream: attention has four, an inverted bottleneck
three. A longer branch is judged like a chain of its own."""


@once
def on_the_stream(record: StepRecord, structure: Structure) -> Column:
    """Return, for each layer of a short residual branch, the log gradient variance at its block's sum; else NaN.

    A branch may start at zero (layer scale, zero initialisation): the gradient that trains the network goes through the
    skip, and IM402 reports branches that stay silent.
    """
    return _beside(record, structure, Quantity.RESIDUAL_SUM_GRADIENT_VAR)


@once
def beside_the_branch(record: StepRecord, structure: Structure) -> Column:
    """Return, for each layer of a short residual branch, the log variance of the skip next to it; else NaN.

    A signal that shrinks inside such a branch is not lost: the skip carries it past.
    """
    return _beside(record, structure, Quantity.RESIDUAL_SKIP_VAR)


def _beside(record: StepRecord, structure: Structure, quantity: Quantity) -> Column:
    beside = np.full(len(structure.layers), np.nan)
    where = record.residual_table.index
    logs = log_of(record.column(quantity))
    for residual, inside in _short_branches(structure):
        i = where.get(residual.name)
        if i is not None:
            beside[inside] = logs[i]
    return beside


@once
def _short_branches(structure: Structure) -> Sequence[tuple[Residual, Sequence[int]]]:
    """Return the short branches on the stream, each with the depths of its layers."""
    weights = {layer.name for layer in structure.layers if layer.role is Role.WEIGHT}
    depths = {layer.name: layer.depth for layer in structure.layers}
    return [
        (residual, [depths[name] for name in residual.layers if name in depths])
        for residual in structure.residuals
        if not (residual.nested or residual.long or len(weights.intersection(residual.layers)) > SHORT_BRANCH)
    ]


@once
def by_additions(record: StepRecord, structure: Structure) -> tuple[Column, Column]:
    """Return the log growth that the additions bring to each layer of the structure, forward and backward.

    Forward, a layer carries the growth of every addition before it; backward, that of every block after its own. Nested
    and long additions are not on the stream and count for nothing, and neither does what was not measured.
    """
    layers = len(structure.layers)
    where = record.residual_table.index
    measured = [(where[one.name], one, begins) for one, begins in _beginnings(structure) if one.name in where]
    growth = np.nan_to_num(log_of(record.column(Quantity.RESIDUAL_GROWTH)), nan=0.0)
    back = np.nan_to_num(log_of(record.column(Quantity.RESIDUAL_BACKWARD_GROWTH)), nan=0.0)
    # What a small factor on the stream takes away is no growth that a layer would have to be excused for.
    known = with_known_factors(record, structure)
    shrunk = [row for row, one, _ in measured if fades(known.get(one.name, one))]
    growth[shrunk], back[shrunk] = np.maximum(growth[shrunk], 0.0), np.maximum(back[shrunk], 0.0)
    forward, brought = np.zeros(layers), np.zeros(layers + 1)
    rows = [row for row, _, _ in measured]
    np.add.at(brought, [begins for _, _, begins in measured], back[rows])
    if any(residual.normalised for _, residual, _ in measured):
        for row, residual, _ in measured:
            forward[residual.depth :] += growth[row]
            if residual.normalised:
                forward[residual.depth :] = 0.0
    else:  # sums over all additions before a layer at once: to add each to all behind it grows with the square of the depth
        added = np.zeros(layers + 1)
        np.add.at(added, [residual.depth for _, residual, _ in measured], growth[rows])
        forward = np.cumsum(added)[:layers]
    return forward, np.cumsum(brought[::-1])[::-1][1:]


@once
def _beginnings(structure: Structure) -> Sequence[tuple[Residual, int]]:
    """Return the additions on the stream, each with the depth at which its block begins."""
    depths = {layer.name: layer.depth for layer in structure.layers}
    return [
        (residual, min((depths[name] for name in residual.layers if name in depths), default=0))
        for residual in structure.residuals
        if not (residual.nested or residual.long)
    ]
