"""Weights whose units are all alike, and which layers with such weights follow one another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis.attention_parts import parts_of, projection_of
from init_monitor.analysis.recurrent import GATES
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from init_monitor.records import Layer, StepRecord, Structure


class UnitWeights:
    """The parameters of one record whose units are all alike, or all zero and without a gradient.

    Attributes:
        symmetric: names of the trained ones whose units are alike and not zero.
        empty: names of the trained ones that are all zero.
        zero: names of those of them whose gradient is, too.
    """

    def __init__(self, record: StepRecord, alike: float, constant: float) -> None:
        """Compare the units of every parameter.

        Args:
            record: what was measured.
            alike: spread of the units up to which they count as the same.
            constant: Var(w)/E[w²] up to which all elements count as one number.
        """
        self._alike, self._constant = alike, constant
        self._where = {name: i for i, name in enumerate(record.parameter_names)}
        self._spread = record.column(Quantity.WEIGHT_UNIT_SPREAD)
        self._norm = record.column(Quantity.WEIGHT_NORM)
        self._count = record.column(Quantity.WEIGHT_COUNT)
        self._variance = record.column(Quantity.WEIGHT_VARIANCE)
        self._update = record.column(Quantity.UPDATE_RATIO)
        trained = record.column(Quantity.TRAINABLE) != 0
        same = (self._spread <= alike) & trained & (self._norm > 0)
        self.symmetric = frozenset(name for name, i in self._where.items() if same[i])
        empty = (self._norm == 0) & trained
        still = record.column(Quantity.WEIGHT_GRADIENT_NORM) == 0
        self.empty = frozenset(name for name, i in self._where.items() if empty[i])
        self.zero = frozenset(name for name in self.empty if still[self._where[name]])

    def differs(self, name: str, like: str) -> bool:
        """Say whether a parameter is of the size of another one, and has units that differ."""
        i, other = self._where.get(name), self._where.get(like)
        if i is None or other is None:
            return False
        return bool(self._count[i] == self._count[other] and self._spread[i] > self._alike)

    def update(self, name: str) -> float:
        """Return ‖Δw‖/‖w‖, 0 where it was not measured."""
        return float(np.nan_to_num(self._update[self._where[name]]))

    def spread(self, layer: Layer) -> float:
        """Return the largest spread that one of a layer's parameters has; 0 where none has one."""
        at = [self._spread[self._where[n]] for n in (layer.weight, *layer.parameters) if n in self.symmetric]
        return float(max(at, default=0.0))

    def constant(self, name: str) -> bool:
        """Say whether all elements of a parameter are one number."""
        i = self._where[name]
        square = self._norm[i] ** 2 / self._count[i]
        return bool(self._variance[i] <= self._constant * square)

    def incoming(self, layer: Layer) -> float:
        """Return from how many units each unit of a layer takes: fan_in without the kernel's area; NaN if unknown."""
        i = self._where.get(layer.weight)
        if i is None or not (layer.fan_in and layer.fan_out and self._count[i] > 0):
            return math.nan
        units = self._count[i] / layer.fan_in
        return float(layer.fan_in / (layer.fan_out / units))


def beside_others(weights: UnitWeights, structure: Structure) -> set[str]:
    """Return the parameters with units that are alike which share a layer with one of the same size whose units differ.

    Such a layer computes its weight of both (a mean and a spread for each element, a mask, a scale): its units are not the same.
    A recurrent layer has each of its weights for a purpose of its own.
    """
    found: set[str] = set()
    for layer in structure.layers:
        alike = weights.symmetric.intersection(layer.parameters)
        if alike and layer.torch_kind not in GATES:
            found |= {name for name in alike if any(weights.differs(one, name) for one in layer.parameters)}
    return found


def constants_in_a_row(weights: UnitWeights, structure: Structure) -> set[str]:
    """Return the weights whose units are alike and that are read by layers of one number only, with those layers'.

    Depthwise layers do not count: their units read different channels.
    """
    readers, known = _readers(structure), structure.by_name()
    found: set[str] = set()
    for layer in structure.layers:
        if layer.role is not Role.WEIGHT or layer.weight not in weights.symmetric or not weights.incoming(layer) > 1:
            continue
        after = _weights_after(layer, readers)
        if after and all(
            x.weight in weights.symmetric and weights.constant(x.weight) and _fed_by_one(x, known) for x in after
        ):
            found |= {layer.weight, *(x.weight for x in after)}
    return found


def pairs_in_a_row(chosen: Collection[str], structure: Structure) -> set[str]:
    """Return those of the weights of which one layer reads what another makes; the parts of one attention do."""
    readers = _readers(structure)
    found: set[str] = set()
    for layer in structure.layers:
        own = [name for name in mixing_weights(layer) if name in chosen]
        if not own:
            continue
        if projection_of(layer) is not None and len(own) > 1:
            found |= set(own)
        for after in _weights_after(layer, readers):
            if others := [name for name in mixing_weights(after) if name in chosen]:
                found |= {*own, *others}
    return found


def three_in_a_row(chosen: Collection[str], structure: Structure, ends: Collection[str]) -> set[str]:
    """Return those of the weights that lie three in a row: that of a layer, of one that reads it, and of one that reads that.

    Args:
        chosen: names of weights.
        structure: the network.
        ends: the weights at the ends of residual branches: what reads such a layer reads the stream beside it.
    """
    readers = _readers(structure)
    found: set[str] = set()
    for layer in structure.layers:
        first = [name for name in mixing_weights(layer) if name in chosen and name not in ends]
        for middle in _weights_after(layer, readers) if first else ():
            second = [name for name in mixing_weights(middle) if name in chosen and name not in ends]
            for last in _weights_after(middle, readers) if second else ():
                third = [name for name in mixing_weights(last) if name in chosen]
                if third:
                    found |= {*first, *second, *third}
    return found


def mixing_weights(layer: Layer) -> tuple[str, ...]:
    """Return the names of the weights of a layer that mixes units: its own, those of an attention's parts, of a recurrent layer's."""
    if layer.torch_kind in GATES:
        return tuple(name for name in layer.parameters if name.removeprefix(f"{layer.module}.").startswith("weight"))
    return tuple(part.weight for part in parts_of(layer) if part.weight and part.role is Role.WEIGHT)


def _readers(structure: Structure) -> dict[str, list[Layer]]:
    readers: dict[str, list[Layer]] = {}
    for layer in structure.layers:
        for name in layer.inputs:
            readers.setdefault(name, []).append(layer)
    return readers


def _weights_after(layer: Layer, readers: dict[str, list[Layer]]) -> list[Layer]:
    """Return the weight layers that read a layer's output, through activations and normalisations."""
    after: list[Layer] = []
    open_layers, seen = [layer], {layer.name}
    while open_layers:
        for reader in readers.get(open_layers.pop().name, []):
            if reader.name in seen:
                continue
            seen.add(reader.name)
            (after if reader.role is Role.WEIGHT else open_layers).append(reader)
    return after


def _fed_by_one(layer: Layer, known: Mapping[str, Layer]) -> bool:
    return layer.direct and len(layer.inputs) == 1 and layer.inputs[0] in known
