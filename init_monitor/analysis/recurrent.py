"""Recurrent layers: how many gates each keeps in one parameter, and how far their input alone drives them."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from init_monitor.records import Layer, StepRecord, Structure

GATES: Mapping[str, int] = MappingProxyType({"LSTM": 4, "LSTMCell": 4, "GRU": 3, "GRUCell": 3, "RNN": 1, "RNNCell": 1})
"""By class name in ``torch.nn``: the gates whose weights are stacked in one parameter."""


class Driven(NamedTuple):
    """How far the input drives the pre-activations of a recurrent layer.

    Attributes:
        layer: the first tensor of its first call.
        rms: of the pre-activations, by the input and its weights: the root of E[x²] times terms times Var(W).
        received: rms of the input.
    """

    layer: Layer
    rms: float
    received: float

    def beyond(self, knee: float) -> float:
        """Return the share of normal pre-activations that lie further out than ``knee``."""
        return math.erfc(knee / self.rms / math.sqrt(2)) if self.rms > 0 else 0.0


def driven(record: StepRecord, structure: Structure) -> Iterator[Driven]:
    """Yield what the input of each recurrent layer does, as far as that was measured; each module once."""
    layers = [layer for layer in structure.layers if layer.torch_kind in GATES]
    if not layers:
        return
    variances = record.parameter_table.by_name(Quantity.WEIGHT_VARIANCE)
    seen: set[str] = set()
    for layer in layers:
        ends = (f"{layer.module}.weight_ih", f"{layer.module}.weight_ih_l0")
        weight = next((name for name in layer.parameters if name in ends), "")
        square = record.layer_table.at(layer.name, Quantity.INPUT_MEAN_SQUARE)
        rms = math.sqrt(max(square * layer.forward_terms * variances.get(weight, math.nan), 0.0))
        if layer.module not in seen and math.isfinite(rms):
            seen.add(layer.module)
            yield Driven(layer, rms, math.sqrt(square))
