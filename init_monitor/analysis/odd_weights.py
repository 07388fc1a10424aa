"""Layers whose initial weights are far off by themselves: embeddings that drown what is added to them, recurrent weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.analysis.recurrent import GATES
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import Layer, StepRecord, Structure


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


def odd_recurrent(
    first: StepRecord, structure: Structure, gains: tuple[float, float], without_gates: float
) -> list[Odd]:
    """Return the recurrent layers whose hidden-to-hidden weights are far off; each module once, by the one that is furthest off.

    Args:
        first: the record of the initial weights.
        structure: the network.
        gains: H · Var(W) from which they are too small, down to zeros, and too large.
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
            gain = math.sqrt(at(name, Quantity.WEIGHT_COUNT) / gates) * at(name, Quantity.WEIGHT_VARIANCE)
            # Frozen zeros are a layer that was meant to remember nothing.
            none = gain == 0 == at(name, Quantity.WEIGHT_MEAN) and at(name, Quantity.TRAINABLE) != 0
            if gain >= (high if gates > 1 else without_gates) or 0 < gain <= low or none:
                one = Odd(layer, gain, 1.0)
                found[layer.module] = max(found.get(layer.module, one), one, key=lambda odd: odd.off)
    return list(found.values())
