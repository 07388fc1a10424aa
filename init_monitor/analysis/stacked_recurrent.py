"""Recurrent layers on top of each other in one module: what their weights leave of the differences between samples."""

from __future__ import annotations

from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.analysis.recurrent import GATES
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from init_monitor.records import Layer, StepRecord, Structure

LEFT: Mapping[str, float] = MappingProxyType({"LSTM": 1 / 12, "GRU": 1 / 3, "RNN": 1.0})
"""Variance of a layer's output over that of its pre-activations W·x, at small signals and gates that are half open.

With independent inputs u_t: an LSTM has c_t = c_{t-1}/2 + u_t/2, so Var(c) = (1/4)/(1 - 1/4) Var(u) = Var(u)/3, and h = c/2, which makes
1/12. A GRU has h_t = h_{t-1}/2 + u_t/2, which makes 1/3. tanh of a plain one leaves 1. What comes back by the recurrent weights, a few
tenths more, is left out; so are gates that multiply two signals."""


class Stack(NamedTuple):
    """A recurrent module of several layers.

    Attributes:
        layer: its output.
        layers: how many are on top of each other.
        left: what their weights leave, by theory, of the variance between samples from the first layer's output to the last's.
        share: of the variance of the output that lies between samples, as measured.
    """

    layer: Layer
    layers: int
    left: float
    share: float


def stacks(record: StepRecord, structure: Structure) -> Iterator[Stack]:
    """Yield the recurrent modules of several layers whose weights and output were measured; each module once."""
    variances = record.parameter_table.by_name(Quantity.WEIGHT_VARIANCE)
    seen: set[str] = set()
    for layer in structure.layers:
        if layer.torch_kind not in LEFT or layer.module in seen:
            continue
        seen.add(layer.module)
        upper = list(_upper(layer, record, variances))
        share = record.layer_table.at(layer.name, Quantity.BETWEEN_SAMPLE_SHARE)
        if upper and share >= 0:
            left = 1.0
            for pre in upper:
                left *= pre * LEFT[layer.torch_kind]
            yield Stack(layer, len(upper) + 1, left, share)


def _upper(layer: Layer, record: StepRecord, variances: Mapping[str, float]) -> Iterator[float]:
    """Yield E[(W·x)²]/E[x²] of the layers above the first: fan_in times the weight's variance, from below."""
    counts = record.parameter_table.by_name(Quantity.WEIGHT_COUNT)
    for i in count(1):
        weight = f"{layer.module}.weight_ih_l{i}"
        recurrent = f"{layer.module}.weight_hh_l{i}"
        # The rows of W_ih are those of W_hh, which has as many columns as there are units.
        if not (counts.get(weight, 0.0) > 0 and counts.get(recurrent, 0.0) > 0):
            return
        gates = GATES[layer.torch_kind]
        units = (counts[recurrent] / gates) ** 0.5
        yield counts[weight] / (gates * units) * variances.get(weight, 0.0)
