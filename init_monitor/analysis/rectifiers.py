"""Rectifiers: how many of their units are dead, or act linearly, and which layers feed them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.analysis.weight_order import weights_ahead_of
from init_monitor.records import Role
from init_monitor.records.once import once
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from init_monitor.records import Layer, StepRecord, Structure

LEAST_SAMPLES = int(Quantity.UNIT_SAMPLES.facts.healthy_from)
"""1,000 positions per unit, from which a share of dead units is told: a unit that fires on 0.3 % of the samples is then still seen
to fire with a probability of 95 % (:func:`detectable_rate`)."""

RULE_OF_THREE = 3.0
"""A unit never seen active in n samples is active in fewer than 3/n of them at 95 % confidence (the rule of three)."""


class RectifierUnits(NamedTuple):
    """The units of one rectifier, over the window.

    Attributes:
        layer: the rectifier.
        dead: share of units that no sample switched on.
        all_positive: share of units that every sample switched on.
        zeros: share of the elements that are zero.
        samples: positions seen per unit.
        units: number of units.
        at_least: share of units that are dead with 95 % confidence, where few positions leave it open; else ``dead``.
    """

    layer: Layer
    dead: float
    all_positive: float
    zeros: float
    samples: float
    units: float
    at_least: float

    @property
    def one_sided(self) -> float:
        """Share of units that saw one sign only; rounded, so that 0.3 + 0.6 is 0.9."""
        return round(self.dead + self.all_positive, 12)

    def by_chance(self, *, deviations: float, matched: float) -> bool:
        """Say whether as many units are only positive as are only negative, as happens by chance.

        Args:
            deviations: standard deviations by which the dead units may outnumber the all-positive ones.
            matched: share of the dead units that the all-positive ones must reach.
        """
        if not self.all_positive >= matched * self.dead or not self.units > 0:
            return False
        return self.dead - self.all_positive <= deviations * math.sqrt((self.dead + self.all_positive) / self.units)


def rectifiers(
    record: StepRecord, structure: Structure, *, flat_below: bool, least_samples: int, pooled: bool = False
) -> list[RectifierUnits]:
    """Return the rectifiers that were seen often enough, in the order of the record.

    Args:
        record: what was measured.
        structure: the network.
        flat_below: only activations that are flat for negative inputs, whose units can die; else all that are two straight
            lines (a leaky ReLU, too).
        least_samples: positions per unit below which a rectifier is left out.
        pooled: also keep those for which the layer as a whole bounds the number of dead units from below.
    """
    known = structure.by_name()
    dead, positive = record.column(Quantity.DEAD_FRACTION), record.column(Quantity.ALL_POSITIVE_FRACTION)
    zeros, samples = record.column(Quantity.ZERO_FRACTION), record.column(Quantity.UNIT_SAMPLES)
    units = record.column(Quantity.UNIT_COUNT)
    enough = samples >= least_samples
    at_least = np.where(enough, dead, record.column(Quantity.DEAD_AT_LEAST))
    found = []
    for i in np.flatnonzero(np.isfinite(dead) & (samples > 0) & (np.isfinite(at_least) if pooled else enough)).tolist():
        layer = known.get(record.names[i])
        if layer is not None and (layer.flat_below if flat_below else layer.piecewise_linear):
            found.append(
                RectifierUnits(layer, *(float(x[i]) for x in (dead, positive, zeros, samples, units, at_least)))
            )
    return _of_all_calls(found, structure)


def _of_all_calls(found: list[RectifierUnits], structure: Structure) -> list[RectifierUnits]:
    """Judge the calls of one rectifier behind one weight together: a unit has one sign only if it has it in each of them."""
    same = _same_units(structure)
    if not same:
        return found
    by_name = {units.layer.name: units for units in found}
    judged = []
    for units in found:
        calls = [by_name[name] for name in same.get(units.layer.name, ()) if name in by_name] or [units]
        judged.append(
            units._replace(
                dead=min(one.dead for one in calls),
                all_positive=min(one.all_positive for one in calls),
                at_least=min(one.at_least for one in calls),
            )
        )
    return judged


@once
def _same_units(structure: Structure) -> Mapping[str, tuple[str, ...]]:
    """Return, for each rectifier whose units are looked at in several calls (a discriminator's two), the names of these calls."""
    groups: dict[tuple[str, str], list[str]] = {}
    for layer in structure.layers:
        fed = feeding(layer, structure) if layer.role is Role.ACTIVATION and layer.piecewise_linear else None
        if fed is not None and "/" not in layer.name:
            groups.setdefault((layer.module, fed.module), []).append(layer.name)
    return {name: tuple(names) for names in groups.values() if len(names) > 1 for name in names}


def detectable_rate(samples: float) -> float:
    """Return the lowest firing rate that would have been seen within ``samples`` (95 % confidence).

    >>> detectable_rate(1000)
    0.003
    """
    return RULE_OF_THREE / samples


def feeding(layer: Layer, structure: Structure) -> Layer | None:
    """Return the weight layer whose output a rectifier receives: by provenance, else the last one that ran before."""
    known = structure.by_name()
    at: Layer | None = layer
    while at is not None and at.role is not Role.WEIGHT:
        fed = [known[name] for name in at.inputs if name in known and known[name].depth < at.depth]
        if not fed:
            return weights_ahead_of(at, structure)
        at = max(fed, key=lambda x: x.depth)
    return at


def ends_network(layer: Layer, structure: Structure) -> bool:
    """Say whether a rectifier is applied to the output: no layer reads it, and none after it reads what is not known."""
    return all(
        layer.name not in after.inputs and (after.inputs or after.role is not Role.WEIGHT)
        for after in structure.layers[layer.depth + 1 :]
    )


def is_straight(layer: Layer, structure: Structure) -> bool:
    """Say whether an activation is a leaky rectifier whose module names a slope of 1 below zero: it changes nothing."""
    known = structure.by_name()
    return layer.role is Role.ACTIVATION and any(
        name in known and known[name].activation == layer.kind and known[name].activation_slope == 1.0
        for name in layer.inputs
    )


def weights_before(layers: Iterable[Layer], structure: Structure) -> list[Layer]:
    """Return the weight layers that feed these rectifiers."""
    return [fed for layer in layers if (fed := feeding(layer, structure)) is not None]


def norms_before(layers: Iterable[Layer], structure: Structure) -> list[Layer]:
    """Return the normalisations with weights between these rectifiers and the weight layers that feed them."""
    known = structure.by_name()
    norms: dict[str, Layer] = {}
    open_layers = list(layers)
    while open_layers:
        for name in open_layers.pop().inputs:
            fed = known.get(name)
            if fed is not None and fed.role is not Role.WEIGHT and fed.name not in norms:
                open_layers.append(fed)
                if fed.role is Role.NORMALISATION:
                    norms[fed.name] = fed
    return [layer for layer in norms.values() if layer.weight]
