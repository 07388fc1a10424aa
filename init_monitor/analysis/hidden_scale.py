"""Networks nearly all of whose weights begin far too large, where normalisations hide that from the signal, but not from the steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis.attention_parts import parts_of
from init_monitor.analysis.bounded import is_fresh
from init_monitor.analysis.gains import gains_around
from init_monitor.analysis.medians import median
from init_monitor.analysis.odd_weights import Odd
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import Layer, StepRecord, Structure

LARGE = 10.0
"""Times the healthy gain from which weights are far too large wherever they stand: Kaiming's fan_out mode, the largest in wide use, gives 4."""

NEARLY_ALL = 0.75
"""Part of the layers that count from which it is the network."""

FEWEST = 3
"""Layers that have to count."""

QUICK = 1e-2
"""First ‖Δw‖/‖w‖ from which the steps are as large as the weights are: Adam at 1e-3 gives that to the weights that torch draws
for 64 inputs."""


def hidden_scale(first: StepRecord, structure: Structure) -> tuple[Odd, ...]:
    """Return the layers whose weights are far too large if those of nearly all layers are, and normalisations take most of it away.

    A normalisation makes the scale of the weights before it meaningless to the signal. An optimizer still sees it: relative to
    weights that are k times too large a step of Adam is k times too small, one of gradient descent k² times, because their
    gradient is smaller as well (Salimans & Kingma 2016, Section 2). Not in a network that was trained before, whose weights have grown by
    steps of that size; not where the steps are large enough all the same, nor where a factor
    outside of the layer's weight keeps what it gives in scale: then what it was measured to give is not large.

    Args:
        first: the record of the initial weights.
        structure: the network.
    """
    if not is_fresh(first, structure):
        return ()
    given = dict(zip(first.names, first.column(Quantity.EXPECTED_GAIN).tolist(), strict=True))
    at = first.parameter_table.at
    known: dict[str, Odd] = {}
    hidden: set[str] = set()
    for layer in structure.layers:
        parts = parts_of(layer)
        weight = parts[0].weight
        if layer.role is not Role.WEIGHT or layer.is_embedding or not weight or weight in known:
            continue
        gain = given.get(layer.name, math.nan)
        if parts != (layer,):
            gain = layer.forward_terms * at(weight, Quantity.WEIGHT_VARIANCE)
        else:
            gain = float(np.fmin(gain, first.layer_table.at(layer.name, Quantity.GAIN)))
        if 0 < gain < math.inf and at(weight, Quantity.TRAINABLE) != 0:
            known[weight] = Odd(layer, gain, _needed(layer))
            hidden.update({weight} if layer.normalised else ())
    large = {weight: one for weight, one in known.items() if one.gain >= LARGE * one.healthy}
    # A single chain whose signal shows it belongs to other rules.
    if len(large) < max(FEWEST, NEARLY_ALL * len(known)) or not hidden.intersection(large):
        return ()
    steps = [at(weight, Quantity.UPDATE_RATIO) for weight in large]
    measured = [step for step in steps if step > 0]
    return () if measured and median(measured) >= QUICK else tuple(large.values())


def _needed(layer: Layer) -> float:
    gains = gains_around(layer.activation, flat_below=layer.flat_below)
    return 1.0 if gains is None else gains.forward
