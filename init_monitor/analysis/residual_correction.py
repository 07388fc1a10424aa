"""What residual additions account for: the growth that the stream brings, which is no layer's fault.

In ``x + F(x)`` the variance grows although every layer keeps it. Rules about layers look at what is left when the growth
of the additions is taken out; the growth itself is IM401's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis.segments import log_of
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import Column, StepRecord, Structure


SHORT_BRANCH = 8
"""Weight layers up to which a branch is only a detour beside the stream: attention has four, an inverted bottleneck
three. What a longer one does to the gradient is looked at for itself."""


def on_the_stream(record: StepRecord, structure: Structure) -> Column:
    """Return, for each layer of a short residual branch, the log gradient variance at its block's sum; else NaN.

    A branch may start at zero (layer scale, zero initialisation): the gradient that trains the network goes through the
    skip, and IM402 reports branches that stay silent.
    """
    return _beside(record, structure, Quantity.RESIDUAL_SUM_GRADIENT_VAR)


def beside_the_branch(record: StepRecord, structure: Structure) -> Column:
    """Return, for each layer of a short residual branch, the log variance of the skip beside it; else NaN.

    A signal that shrinks inside such a branch is not lost: the skip carries it on.
    """
    return _beside(record, structure, Quantity.RESIDUAL_SKIP_VAR)


def _beside(record: StepRecord, structure: Structure, quantity: Quantity) -> Column:
    weights = {layer.name for layer in structure.layers if layer.role is Role.WEIGHT}
    beside = np.full(len(structure.layers), np.nan)
    depths = {layer.name: layer.depth for layer in structure.layers}
    where = {name: i for i, name in enumerate(record.residual_names)}
    logs = log_of(record.column(quantity))
    for residual in structure.residuals:
        i = where.get(residual.name)
        inside = [depths[name] for name in residual.layers if name in depths]
        if i is None or residual.nested or residual.long or len(weights.intersection(residual.layers)) > SHORT_BRANCH:
            continue
        beside[inside] = logs[i]
    return beside


def by_additions(record: StepRecord, structure: Structure) -> tuple[Column, Column]:
    """Return the log growth that the additions bring to each layer of the structure, forward and backward.

    Forward, a layer carries the growth of every addition before it; backward, that of every block after its own. Nested
    and long additions are not on the stream and count for nothing, and neither does what was not measured.
    """
    layers = structure.layers
    forward, backward = np.zeros(len(layers)), np.zeros(len(layers))
    depths = {layer.name: layer.depth for layer in layers}
    where = {name: i for i, name in enumerate(record.residual_names)}
    growth = np.nan_to_num(log_of(record.column(Quantity.RESIDUAL_GROWTH)), nan=0.0)
    back = np.nan_to_num(log_of(record.column(Quantity.RESIDUAL_BACKWARD_GROWTH)), nan=0.0)
    positions = np.array([layer.depth for layer in layers])
    for residual in structure.residuals:
        i = where.get(residual.name)
        if i is None or residual.nested or residual.long:
            continue
        forward[positions >= residual.depth] += growth[i]
        begins = min((depths[name] for name in residual.layers if name in depths), default=0)
        backward[positions < begins] += back[i]
        if residual.normalised:
            forward[positions >= residual.depth] = 0.0
    return forward, backward
