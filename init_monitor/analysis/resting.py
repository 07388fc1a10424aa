"""Parameters that got no gradient, and those that could not get one because their layer received nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.gradient_flow import parameters_of
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import History, StepRecord


class Rest(NamedTuple):
    """In how many records a parameter had no gradient, and whether it was one of zeros."""

    records: int
    zero: bool


def without_gradient(records: Sequence[StepRecord], least: int) -> dict[str, Rest]:
    """Return the trainable parameters that had no gradient in any record that has them, if there are ``least`` of these.

    A record counts only if some other parameter got a gradient in it. What had a gradient once (an expert that was
    chosen, a branch that died since) is used by the loss.
    """
    resting = dict.fromkeys(records[-1].parameter_names, Rest(0, zero=False))
    for record in reversed(records):
        norms, moved = record.column(Quantity.WEIGHT_GRADIENT_NORM), record.column(Quantity.UPDATE_RATIO)
        if not (norms > 0).any():
            continue
        # A sparse gradient is not measured: what moved without one had it.
        none = np.isnan(norms) & ~(moved > 0)
        rests = (record.column(Quantity.TRAINABLE) != 0) & (none | (norms == 0))
        for name, here, missing in zip(record.parameter_names, rests.tolist(), none.tolist(), strict=True):
            if name in resting and here:
                resting[name] = Rest(resting[name].records + 1, zero=resting[name].zero or not missing)
            else:
                resting.pop(name, None)
        if not resting:
            break
    return {name: rest for name, rest in resting.items() if rest.records >= least}


def fed_by_zeros(history: History) -> frozenset[str]:
    """Return the parameters of layers that receive only zeros, and of normalisations that receive a constant.

    The gradient of a weight is a sum of products with what the layer receives, or what that is once normalised, and the gradient of its
    bias the sum alone: where the bias has one and the weight's is exactly 0, the layer receives nothing (a decoder's first
    normalisation, whose queries begin as zeros).
    """
    record = history.last
    norms = record.parameter_table.by_name(Quantity.WEIGHT_GRADIENT_NORM)
    received = dict(zip(record.names, record.column(Quantity.INPUT_MEAN_SQUARE).tolist(), strict=True))
    variance = dict(zip(record.names, record.column(Quantity.VARIANCE).tolist(), strict=True))
    return frozenset(
        name
        for layer in history.structure.layers
        if received.get(layer.name) == 0 or (layer.role is Role.NORMALISATION and variance.get(layer.name) == 0)
        for name in parameters_of(layer)
    ) | frozenset(
        layer.weight
        for layer in history.structure.layers
        if layer.bias and norms.get(layer.weight) == 0 and norms.get(layer.bias, 0.0) > 0
    )
