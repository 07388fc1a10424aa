"""Layers whose output does not depend on their input: why, and what of the network comes after them."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.activations import Shape, activation_called
from init_monitor.analysis.forward_growth import in_branches
from init_monitor.analysis.lost_samples import ends_of
from init_monitor.records import INPUT, PARAMETER, Role
from init_monitor.records.once import once
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from init_monitor.records import History, Layer, StepRecord, Structure

ROUNDING = 1e-10
"""Variance of numbers near 1 that should be equal: a rounding error of 1e-5, more than any pass over float32 makes."""


class Cause(str, Enum):
    """Why the output of a layer is the same for every input."""

    ONE_PLACE = "one place"  # a softmax over a dimension of one element
    ONE_VALUE = "one value"  # a normalisation of groups of one value
    TWO_VALUES = "two values"  # a batch norm over two: they become 1 and -1
    DROPS_ALL = "drops all"  # a dropout of 1
    OFF = "off"  # an activation that gives one number for everything


class Degenerate(NamedTuple):
    """A layer whose output is the same for every input, and why."""

    layer: Layer
    cause: Cause


def degenerate_layers(record: StepRecord, structure: Structure) -> list[Degenerate]:
    """Return the layers that give one and the same output for all that they received in a step, in execution order."""
    table = record.layer_table
    constant = np.flatnonzero(table.column(Quantity.VARIANCE) <= ROUNDING)
    if not (constant.size or _may_always_be(structure)):
        return []
    known = structure.by_name()
    found = []
    for layer in structure.layers:
        cause = _cause(layer, record, known)
        if cause is not None:
            found.append(Degenerate(layer, cause))
    return found


@once
def _may_always_be(structure: Structure) -> bool:
    """Say whether the network has layers that are looked at whatever their variance."""
    return any(layer.one_value or layer.role is Role.OTHER for layer in structure.layers)


def lasting(records: Sequence[StepRecord], structure: Structure) -> list[Degenerate]:
    """Return the layers that are degenerate, for the same cause, in each of the records."""
    found = degenerate_layers(records[-1], structure)
    for record in records[:-1] if found else ():
        here = set(degenerate_layers(record, structure))
        found = [one for one in found if one in here]
    return found


def over_two_values(history: History) -> list[Degenerate]:
    """Return the batch norms that have had two values per channel in every record, in execution order.

    Of two values one becomes 1 and the other -1, but for the epsilon. That is seen as long as weight and bias are 1 and 0, at the
    first record; in evaluation mode, with numbers kept from before, other values come out.
    """
    first = history.records[0]
    if first.step > 0:
        return []
    counts = first.parameter_table.by_name(Quantity.WEIGHT_COUNT)
    means, spreads = (first.parameter_table.by_name(q) for q in (Quantity.WEIGHT_MEAN, Quantity.WEIGHT_VARIANCE))
    found = []
    for layer in history.structure.layers:
        channels = counts.get(layer.weight, math.nan)
        fresh = means.get(layer.weight) == 1 and spreads.get(layer.weight) == 0 and means.get(layer.bias, 0.0) == 0
        if not (layer.torch_kind.startswith("BatchNorm") and fresh and channels > 0):
            continue
        values = [record.layer_table.at(layer.name, Quantity.COUNT) / channels for record in history.records]
        largest = first.layer_table.at(layer.name, Quantity.ABS_MAX)
        if set(values) == {2.0} and 0 < largest <= 1 + math.sqrt(ROUNDING):
            found.append(Degenerate(layer, Cause.TWO_VALUES))
    return found


def is_the_only_way(layer: Layer, structure: Structure) -> bool:
    """Say whether all that the outputs of the network are computed from comes through a layer."""
    if layer.name in in_branches(structure):
        return False
    known, waiting, seen = structure.by_name(), [one.name for one in ends_of(structure)], {layer.name}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name not in known or not known[name].inputs or INPUT in known[name].inputs:
            return False
        waiting += [one for one in known[name].inputs if one != PARAMETER]
    return True


def ends_the_network(layer: Layer, structure: Structure) -> bool:
    """Say whether no layer with weights runs after this one."""
    return all(other.role is not Role.WEIGHT for other in structure.layers[layer.depth + 1 :])


def _cause(layer: Layer, record: StepRecord, known: Mapping[str, Layer]) -> Cause | None:
    if layer.one_value:
        return Cause.ONE_VALUE
    if layer.role is Role.OTHER:
        zeros = record.layer_table.at(layer.name, Quantity.ZERO_FRACTION)
        return Cause.DROPS_ALL if "Dropout" in layer.kind and zeros == 1 else None
    if layer.role is not Role.ACTIVATION:
        return None
    variance = record.layer_table.at(layer.name, Quantity.VARIANCE)
    if not variance <= ROUNDING:
        return None
    shape = activation_called(layer.kind)
    if shape is not None and shape.shape is Shape.DISTRIBUTION:
        mean = record.layer_table.at(layer.name, Quantity.MEAN)
        # Over n positions the mean of a softmax is 1/n, and that of a log-softmax is below 0.
        alone = 0.0 if "log" in layer.kind.casefold() else 1.0
        return Cause.ONE_PLACE if abs(mean - alone) <= math.sqrt(ROUNDING) else None
    fed = next((name for name in reversed(layer.inputs) if name in known), "")
    arriving = record.layer_table.at(fed, Quantity.VARIANCE)
    largest = record.layer_table.at(layer.name, Quantity.ABS_MAX)
    return Cause.OFF if variance == 0 and arriving > 0 and not math.isnan(largest) else None
