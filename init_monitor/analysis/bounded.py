"""Bounded activations: where each bends, how much of it is saturated, and what feeds it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from init_monitor.analysis.activations import Bounds, Shape, activation_called
from init_monitor.analysis.weight_order import weights_ahead_of
from init_monitor.records import INPUT, Role
from init_monitor.records.once import once
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import Layer, StepRecord, Structure


UNKNOWN = Bounds()
"""For an activation that the table does not list."""


def bounds_of(layer: Layer) -> Bounds:
    """Return what is known of a bounded activation."""
    known = activation_called(layer.kind)
    return UNKNOWN if known is None or known.bounds is None else known.bounds


def bounds_of_tanh() -> Bounds:
    """Return what is known of the tanh that recurrent layers have inside."""
    known = activation_called("Tanh")
    return UNKNOWN if known is None or known.bounds is None else known.bounds


def steepest_of(layer: Layer) -> float:
    """Return the square of an activation's largest derivative: the part of a gradient's mean square that can pass at all."""
    known = activation_called(layer.kind)
    return known.slopes.largest**2 if known is not None and known.shape is Shape.BOUNDED else math.nan


def is_fresh(record: StepRecord, structure: Structure) -> bool:
    """Say whether the network looks freshly initialised rather than trained before.

    Every normalisation starts with equal weights, and no training leaves them equal. Without one it cannot be known.
    """
    weights = {layer.weight for layer in structure.layers if layer.role is Role.NORMALISATION and layer.weight}
    variances = zip(record.parameter_names, record.column(Quantity.WEIGHT_VARIANCE), strict=True)
    return not any(name in weights and value > 0 for name, value in variances)


def is_distribution(layer: Layer) -> bool:
    """Say whether an activation makes distributions: a softmax, however it is called."""
    known = activation_called(layer.kind)
    return known.shape is Shape.DISTRIBUTION if known is not None else "softmax" in layer.kind.casefold()


SQUARED = 0.05
"""How closely the mean square of an output's gradient follows the loss where that is its squared error: they are proportional, but for
other terms of the loss."""


class Reading:
    """One record, by layer name.

    Attributes:
        record: which.
        known: the layers of its structure by name.
    """

    def __init__(self, record: StepRecord, structure: Structure) -> None:
        """Index a record."""
        self.record = record
        self.known = structure.by_name()
        self._structure = structure
        self._culprits: dict[str, Layer | None] = {}

    def at(self, name: str, quantity: Quantity) -> float:
        """Return a layer's number; NaN if the record does not have it."""
        return self.record.layer_table.at(name, quantity)

    def share(self, layer: Layer) -> float:
        """Return the saturated share; for a softmax without the rows that a causal mask leaves one position."""
        share = self.at(layer.name, Quantity.SATURATED_FRACTION)
        if not is_distribution(layer):
            return share
        if self.at(layer.name, Quantity.VARIANCE) == 0:
            return math.nan  # a distribution over one class
        single = self.at(layer.name, Quantity.MEAN)  # 1/classes: the first of so many rows of a causal mask
        return (share - single) / (1 - single) if 0 <= single < 1 else share

    def fed(self, layer: Layer) -> str:
        """Return the tap whose tensor an activation received, or an empty string; sums and products have no one tap."""
        if not layer.direct:
            return ""
        return next((name for name in reversed(layer.inputs) if name in self.known), "")

    def passing(self, layer: Layer) -> float:
        """Return the fraction of a gradient's mean square that gets through, relative to the most that can; NaN if unknown."""
        before = self.at(self.fed(layer), Quantity.GRADIENT_MEAN_SQUARE)
        after = self.at(layer.name, Quantity.GRADIENT_MEAN_SQUARE)
        return before / after / steepest_of(layer) if after > 0 else math.nan

    def error_left(self, layer: Layer, first: Reading) -> float:
        """Return the part of the first record's loss that is left, where that is the squared error of a layer's output; else NaN."""
        now, before = (one.at(layer.name, Quantity.GRADIENT_MEAN_SQUARE) for one in (self, first))
        if not (before > 0 and first.record.loss > 0):
            return math.nan
        left = self.record.loss / first.record.loss
        return left if abs(now / before - left) <= SQUARED * left else math.nan

    def root(self, layer: Layer, quantity: Quantity) -> float:
        """Return the square root of a moment of what an activation receives; NaN if that is not known."""
        return math.sqrt(value) if (value := self.at(self.fed(layer), quantity)) >= 0 else math.nan

    def culprit(self, layer: Layer) -> Layer | None:
        """Return the weight layer, or the normalisation, that makes what an activation receives; ``None`` if unknown.

        That is the one before it, or, where that one only passes on what is already out of scale, the one before that.
        """
        at = self._before(layer, (Role.WEIGHT, Role.NORMALISATION))
        passed: list[str] = []
        while at is not None and at.name not in self._culprits:
            if at.role is not Role.WEIGHT or INPUT in at.inputs or not self.passes_on(at):
                break
            above = self._before(at, (Role.WEIGHT, Role.NORMALISATION)) or weights_ahead_of(at, self._structure)
            if above is None:
                break
            passed.append(at.name)
            at = above
        made = at if at is None else self._culprits.setdefault(at.name, at)
        # Every layer on the way has the same answer, so a deep network is walked only once.
        self._culprits.update(dict.fromkeys(passed, made))
        return made

    def passes_on(self, layer: Layer) -> bool:
        """Say whether what a layer gets is further from an rms of 1 than its own gain."""
        return self.at(layer.name, Quantity.INPUT_MEAN_SQUARE) > max(self.at(layer.name, Quantity.GAIN), 1.0)

    def _before(self, layer: Layer, roles: tuple[Role, ...]) -> Layer | None:
        at: Layer | None = layer
        while at is not None and (at is layer or at.role not in roles):
            fed = self.fed(at)
            at = self.known[fed] if fed and self.known[fed].depth < at.depth else None
        return at

    def is_read(self, layer: Layer) -> bool:
        """Say whether another layer reads what a layer makes."""
        return layer.name in _read(self._structure)


@once
def _read(structure: Structure) -> frozenset[str]:
    """Return the names of everything that a layer reads."""
    return frozenset(name for layer in structure.layers for name in layer.inputs)
