"""Layers whose initial weights are far off by themselves: embeddings and stems that drown what is added to them, recurrent weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.bounded import is_fresh
from init_monitor.analysis.recurrent import GATES
from init_monitor.analysis.residual_branches import normalising
from init_monitor.analysis.residual_streams import Measured, streams
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import Layer, StepRecord, Structure


LARGE = 10.0
"""fan_in · Var(W) from which a layer's weights are far too large: Kaiming's fan_out mode, the largest in wide use, gives 4 times the 2 of
ReLU."""


class Odd(NamedTuple):
    """A layer whose initial weights are far off.

    Attributes:
        layer: which.
        gain: what its weights give the signal.
        healthy: what it needs, as the nearest end of the accepted range.
    """

    layer: Layer
    gain: float
    healthy: float

    @property
    def off(self) -> float:
        """Factor by which the gain is off, 1 or more; infinite for weights of zero."""
        return max(self.gain / self.healthy, self.healthy / self.gain) if self.gain > 0 else math.inf


def large_embeddings(first: StepRecord, structure: Structure, bar: float) -> list[Odd]:
    """Return the embeddings of at least a variance that no normalisation follows."""
    found = []
    for layer in structure.layers:
        if not layer.is_embedding or layer.normalised:
            continue
        variance = first.parameter_table.at(layer.weight, Quantity.WEIGHT_VARIANCE)
        if variance >= bar:
            found.append(Odd(layer, variance, 1.0))
    return found


def large_starts(first: StepRecord, structure: Structure, bar: float) -> list[Odd]:
    """Return the layers whose large weights make what a stream starts from drown what its branches add.

    Branches that normalise what they read add much the same whatever the stream carries. Not in a network that was trained before.

    Args:
        first: the record of the initial weights.
        structure: the network.
        bar: variance from which it drowns them, and the factor by which theirs is smaller.
    """
    known, found = structure.by_name(), []
    table, residuals = first.layer_table, Measured(first)
    for stream in streams(structure) if is_fresh(first, structure) else ():
        began = stream.residuals[0]
        layer = known.get(began.skip)
        if layer is None or layer.role is not Role.WEIGHT or layer.is_embedding:
            continue
        if any(one.name not in normalising(structure) for one in stream.residuals):
            continue
        gain = float(np.fmin(table.at(layer.name, Quantity.EXPECTED_GAIN), table.at(layer.name, Quantity.GAIN)))
        adds = residuals.median(Quantity.RESIDUAL_VARIANCE_RATIO, stream)
        if gain >= LARGE and table.at(layer.name, Quantity.VARIANCE) >= bar and adds <= 1 / bar:
            found.append(Odd(layer, gain, 1.0))
    return found


def odd_recurrent(
    first: StepRecord, structure: Structure, gains: tuple[float, float], without_gates: float
) -> list[Odd]:
    """Return the recurrent layers whose hidden-to-hidden weights are far off; each module once, by the one that is furthest off.

    Args:
        first: the record of the initial weights.
        structure: the network.
        gains: H · Var(W) from which they are too small, down to zeros, and too large (or its square where the weights have a mean: H · E[W]).
        without_gates: the largest where no gate holds the state.
    """
    found: dict[str, Odd] = {}
    low, high = gains
    at = first.parameter_table.at
    for layer in structure.layers:
        gates = GATES.get(layer.torch_kind)
        for name in layer.parameters if gates else ():
            if "weight_hh" not in name or gates is None:
                continue
            units, mean = math.sqrt(at(name, Quantity.WEIGHT_COUNT) / gates), at(name, Quantity.WEIGHT_MEAN)
            gain = units * at(name, Quantity.WEIGHT_VARIANCE)
            if (
                gain > 0
            ):  # of weights of one sign the sum over a row is what the state is multiplied by; equal ones are told elsewhere
                gain = float(np.fmax(gain, (units * mean) ** 2))
            # Frozen zeros are a layer that was meant to remember nothing.
            none = gain == 0 == mean and at(name, Quantity.TRAINABLE) != 0
            if gain >= (high if gates > 1 else without_gates) or 0 < gain <= low or none:
                one = Odd(layer, gain, 1.0)
                found[layer.module] = max(found.get(layer.module, one), one, key=lambda odd: odd.off)
    return list(found.values())
