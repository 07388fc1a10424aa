"""IM501: the units of a layer are all the same, and nothing will ever tell them apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from init_monitor.records import Figure, Finding, History, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import affected_layers, phrases, snippets
from init_monitor.rules.propagation import VanishingActivations

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.records import Column, Layer, StepRecord, Structure

ALIKE = 1e-9
"""Spread of the units up to which they count as the same. Rounding to float32 leaves 1e-14 of equal units that were
updated equally; independent weights have about 1."""

CONSTANT = 1e-12
"""Var(w)/E[w²] up to which all elements of a weight are one number: rounding alone."""

LEAST_RECORDS = 4
"""Records in a row that must show it: the step that breaks a symmetry is the first that changes the layer, and the next
record is the first that can show it."""

LEAST_MOVE = 1e-3
"""Sum of ‖Δw‖/‖w‖ over those records: units moved apart by a part of it would differ by far more than ALIKE (its square is
1e-6). A layer that has not moved yet may still break."""

SOURCE = "Goodfellow, Bengio & Courville 2016, 'Deep Learning', Sec. 8.4: initial parameters must break symmetry"


@dataclass(frozen=True)
class Symmetry:
    """IM501: all units of a layer have the same incoming weights, and keep them.

    Told at the first record where the layer after it is constant too, so that every unit gets the same gradient. Elsewhere
    once updates moved the layer and its units together. A single constant layer, a head or the end of a residual branch
    that starts at zero, breaks with the first step and is never mentioned. Layers of zeros in a row are told when they stay;
    that they stop a signal, if they do, is IM102's and told at once.

    Attributes:
        alike: spread of the units up to which they are the same.
        least_records: records in a row that must show it where it is not certain at once.
        least_move: sum of the update ratios over those records.
    """

    code: ClassVar[str] = "IM501"
    name: ClassVar[str] = "symmetry"

    alike: float = ALIKE
    least_records: int = LEAST_RECORDS
    least_move: float = LEAST_MOVE

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding."""
        weights = _Weights(history.last, self.alike)
        if weights.zero:
            yield from self._zeros(weights, history)
        if not weights.symmetric:
            return
        kept = self._kept(weights.symmetric, history)
        found = _constants_in_a_row(weights, history.structure) | kept
        if not found:
            return
        layers = [x for x in history.structure.layers if found.intersection((x.weight, *x.parameters))]
        silent = _silent(history)
        layers = [layer for layer in layers if layer.name not in silent]
        if layers:
            message = self._message(list(dict.fromkeys(layer.name for layer in layers)), certain=not kept)
            spread = max(weights.spread(layer) for layer in layers)
            yield self._finding(layers, message, Figure(spread, "variance between units / (fan_in · E[w²])"), history)

    def _zeros(self, weights: _Weights, history: History) -> Iterator[Finding]:
        """Yield the finding about layers of zeros in a row that keep each other's gradient at zero."""
        # Steps that moved nothing count, too: where these layers are all that is trained, nothing can move.
        records = history.records[-self.least_records :]
        if len(records) < self.least_records:
            return
        stuck = set(weights.zero)
        for record in records:
            stuck &= _Weights(record, self.alike).zero
        readers = _readers(history.structure)
        paired = {
            name
            for layer in history.structure.layers
            if layer.weight in stuck
            for after in _weights_after(layer, readers)
            if after.weight in stuck
            for name in (layer.weight, after.weight)
        }
        layers = [x for x in history.structure.layers if x.weight in paired]
        if layers:
            names = list(dict.fromkeys(layer.name for layer in layers))
            message = (
                f"The weights of {phrases.names(names)} are all 0 and so are their gradients, in the last"
                f" {phrases.count(len(records), 'sampled step')}: layers of zeros in a row keep each other from learning,"
                " and all their units the same for ever."
            )
            yield self._finding(layers, message, Figure(0.0, "of the weights, in norm"), history)

    def _kept(self, symmetric: frozenset[str], history: History) -> set[str]:
        """Return the parameters whose units are still the same after updates that moved them."""
        records = [r for r in history.records if r.stepped][-self.least_records :]
        if len(records) < self.least_records:
            return set()
        kept = set(symmetric)
        moved = dict.fromkeys(kept, 0.0)
        for record in records:
            here = _Weights(record, self.alike)
            kept &= here.symmetric
            for name in kept:
                moved[name] += here.update(name)
        return {
            name for name in kept if moved[name] >= self.least_move or (moved[name] == 0 and self._stuck(name, records))
        }

    def _stuck(self, name: str, records: Sequence[StepRecord]) -> bool:
        """Say whether a parameter gets a gradient of exactly zero while others learn (no gradient at all is IM602's)."""
        return all(_at(record, name, Quantity.WEIGHT_GRADIENT_NORM) == 0 for record in records)

    def _message(self, names: Sequence[str], *, certain: bool) -> str:
        lead = f"All units of {phrases.names(names)} have the same weights"
        if certain:
            return (
                f"{lead}, one number throughout: with constant layers in a row every unit gets the same gradient, and no"
                " update tells them apart (random biases or dropout do, slowly)."
            )
        return (
            f"{lead}, still after {phrases.count(self.least_records, 'sampled step')} that changed them: they compute the"
            " same and get the same gradient, so that a layer of many units is worth one."
        )

    def _finding(self, layers: Sequence[Layer], message: str, spread: Figure, history: History) -> Finding:
        return Finding(
            rule=self.name,
            code=self.code,
            severity=Severity.CRITICAL,
            layers=tuple(dict.fromkeys(layer.name for layer in layers)),
            step=history.last.step,
            message=message,
            evidence={"unit_spread": spread},
            expected={"unit_spread": Figure(1.0, spread.unit)},
            remedy=snippets.advice(
                "Initialise these layers with random weights, before training; zeros are for biases.",
                snippets.initialise(affected_layers.constant_too(layers, history), among=history.structure.layers),
            ),
            source=SOURCE,
        )


class _Weights:
    """The parameters of one record whose units are all alike, or all zero and without a gradient."""

    def __init__(self, record: StepRecord, alike: float) -> None:
        self._where = {name: i for i, name in enumerate(record.parameter_names)}
        self._spread = record.column(Quantity.WEIGHT_UNIT_SPREAD)
        self._norm = record.column(Quantity.WEIGHT_NORM)
        self._count = record.column(Quantity.WEIGHT_COUNT)
        self._variance = record.column(Quantity.WEIGHT_VARIANCE)
        self._update = record.column(Quantity.UPDATE_RATIO)
        trained = record.column(Quantity.TRAINABLE) != 0
        same = (self._spread <= alike) & trained & (self._norm > 0)
        self.symmetric = frozenset(name for name, i in self._where.items() if same[i])
        zero = (self._norm == 0) & (record.column(Quantity.WEIGHT_GRADIENT_NORM) == 0) & trained
        self.zero = frozenset(name for name, i in self._where.items() if zero[i])

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
        return bool(self._variance[i] <= CONSTANT * square)

    def incoming(self, layer: Layer) -> float:
        """Return from how many units each unit of a layer takes: fan_in without the kernel's area; NaN if unknown."""
        i = self._where.get(layer.weight)
        if i is None or not (layer.fan_in and layer.fan_out and self._count[i] > 0):
            return math.nan
        units = self._count[i] / layer.fan_in
        return float(layer.fan_in / (layer.fan_out / units))


def _constants_in_a_row(weights: _Weights, structure: Structure) -> set[str]:
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


def _fed_by_one(layer: Layer, known: dict[str, Layer]) -> bool:
    return layer.direct and len(layer.inputs) == 1 and layer.inputs[0] in known


def _silent(history: History) -> frozenset[str]:
    """Return the layers that IM102 names, or named at first, because the signal stops there."""
    past = (history, History(history.records[:1], history.structure))
    found = [finding for one in past for finding in VanishingActivations().judge(one)]
    return frozenset(name for finding in found if not finding.evidence["total_growth"] for name in finding.layers)


def _at(record: StepRecord, name: str, quantity: Quantity) -> float:
    column: Column = record.column(quantity)
    return float(column[record.parameter_names.index(name)])
