"""Recurrent layers whose biases shut their gates, or hold everything open, whatever they receive."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.analysis.recurrent import GATES
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.records import Layer, StepRecord, Structure

SHUT = 5.0
"""Bias of one gate at which it is shut: a sigmoid lets 0.7 % pass at -5, and its slope is as small."""

SATURATED = 2.5
"""Bias of all gates from which every one is open and the tanh among them saturated, whose slope is below a twentieth from 2.18 on."""

ALIKE = 0.1
"""Var(b)/E[b]² up to which all gates have the same bias: with one of four apart it is 1/3 or more."""

NOTHING = 1e-4
"""Variance of the states below which next to nothing has entered them: a hundredth of the rms of 0.1 that torch's weights give in a step
or two of standard inputs, squared."""


class Shut(NamedTuple):
    """A recurrent layer that its biases hold.

    Attributes:
        layer: the first tensor of its first call.
        mean: of its biases, those of the input and of the state together.
        rms: of one gate, if the others have none.
        open: all its gates are held open, rather than some shut.
    """

    layer: Layer
    mean: float
    rms: float
    open: bool


def shut_gates(first: StepRecord, structure: Structure) -> Iterator[Shut]:
    """Yield the recurrent layers whose gates their initial biases hold; each module once.

    A forget gate may start open, and an input gate shut as far as that is open (their mean is then 0; Tallec & Ollivier 2018): only
    gates that are shut for nothing in return count, and biases that hold all of them alike.

    Args:
        first: the record of the initial weights.
        structure: the network.
    """
    at = first.parameter_table.at
    seen: set[str] = set()
    for layer in structure.layers:
        gates = GATES.get(layer.torch_kind)
        if gates is None or layer.module in seen:
            continue
        seen.add(layer.module)
        # An open update gate of a GRU keeps its state as it is: zero. An LSTM takes in little where its input gate is as good as shut.
        held = layer.torch_kind.startswith("GRU") and first.layer_table.at(layer.name, Quantity.VARIANCE) <= NOTHING
        for ours in (name for name in layer.parameters if "bias_ih" in name):
            both = (ours, ours.replace("bias_ih", "bias_hh"))
            if all(at(name, Quantity.TRAINABLE) == 0 for name in both):
                continue
            mean = sum(at(name, Quantity.WEIGHT_MEAN) for name in both)
            variance = sum(at(name, Quantity.WEIGHT_VARIANCE) for name in both)
            square = mean**2 + variance
            alike = abs(mean) >= SATURATED and variance <= ALIKE * mean**2
            one_shut = gates > 1 and square >= SHUT**2 / gates and (mean <= -SHUT / gates or held)
            if alike or one_shut or (gates == 1 and square >= SHUT**2):
                yield Shut(layer, mean, math.sqrt(square * gates), alike and mean > 0)
                break
