"""Which other layers need the same remedy: repairing half of a badly initialised network does not help.

A finding names the layers where the symptom shows. Its code also covers those whose weights are off in the same way
without showing the symptom: the first or last layer of a segment, a parallel path, a constant layer next to a random one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis import padded, residual_branches
from init_monitor.analysis.alike_units import mixing_weights, pairs_in_a_row
from init_monitor.analysis.attention_parts import parts_of
from init_monitor.analysis.forward_growth import BLAME_FACTOR
from init_monitor.analysis.gains import healthy_gain
from init_monitor.analysis.hidden_scale import hidden_scale
from init_monitor.analysis.odd_parameters import odd_scales, uncentred
from init_monitor.analysis.segments import log_of
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from init_monitor.records import History, Layer, StepRecord, Structure


FAR_INSIDE = {1: 10.0, -1: 100.0}
"""Factor of the gain from which a layer inside a residual branch is off for certain, by direction. Nothing in use makes one larger
than Kaiming's fan_out mode does, by 4. Small ones are meant: 0.02 over a stream of 128 units (1/20), an end divided by the root of 48
additions (1/48)."""


FAINT = 0.005
"""Standard deviation of an embedding below which it is too small for certain: 0.02 is usual where it is not 1 (GPT-2), 0.006 the
smallest in use."""


def off_too(named: Iterable[Layer], history: History, *, direction: int, least: float = BLAME_FACTOR) -> list[Layer]:
    """Return the named layers and those whose first weights are off in the same direction, in execution order.

    Left out, unless named, are layers whose scale does not matter or is meant: before a normalisation, unless a residual
    stream carries on what they make beside it, in a residual block unless they are off by :data:`FAR_INSIDE` (the end of a branch only together with another layer of it), an embedding
    unless it is :data:`FAINT`, and one of constant weights. Where the weights of nearly the whole network are far too large, those before
    normalisations are among them: what the steps do there depends on their size; where they are not centred, all
    of them; and normalisations that nearly all begin with a scale far from 1.

    Args:
        named: the layers of a finding.
        history: its first record is judged.
        direction: 1 for weights that are too large, -1 for ones that are too small.
        least: factor of the gain from which a layer outside of residual branches is off.
    """
    structure, chosen = history.structure, {layer.name for layer in named}
    inside = {name for residual in structure.residuals for name in residual.layers}
    known = structure.by_name()
    fed = {
        name for one in inside if one in known for name in known[one].inputs
    }  # what a stream starts from is among them
    excess = _excess(history.records[0], structure, fed - inside)
    for layer in structure.layers:
        if layer.role is not Role.WEIGHT or layer.name in inside or layer.is_embedding:
            continue
        if direction * excess[layer.name] > math.log(least):
            chosen.add(layer.name)
    for residual in structure.residuals:
        weights = [x for x in residual_branches.layers_of(residual, structure) if x.role is Role.WEIGHT]
        far = [x for x in weights if math.log(FAR_INSIDE[direction]) < direction * excess[x.name] < math.inf]
        end = residual_branches.end_of(residual, structure)
        if any(end is None or x.weight != end.weight for x in far):
            chosen |= {x.name for x in far}
    chosen |= {x.name for find in (uncentred, odd_scales) for x in find(history.records[0], structure)}
    if direction > 0:
        chosen |= {one.layer.name for one in hidden_scale(history.records[0], structure)}
    if direction < 0:
        variance = history.records[0].parameter_table.by_name(Quantity.WEIGHT_VARIANCE)
        chosen |= {x.name for x in structure.layers if x.is_embedding and 0 < variance.get(x.weight, 0.0) < FAINT**2}
    return [padded.with_its_terms(layer, history.records[0]) for layer in structure.layers if layer.name in chosen]


def carried_on(structure: Structure) -> frozenset[str]:
    """Return the names of what the residual branches read that no branch made: what the streams start from is among them."""
    inside = {name for residual in structure.residuals for name in residual.layers}
    known = structure.by_name()
    return frozenset({name for one in inside if one in known for name in known[one].inputs} - inside)


def _excess(record: StepRecord, structure: Structure, carried: Collection[str]) -> dict[str, float]:
    """Return the logarithm of what the weights of each layer give over what is healthy; NaN where one is not known.

    Args:
        record: of the weights.
        structure: the network.
        carried: layers whose output a residual stream carries on.
    """
    given = dict(zip(record.names, record.column(Quantity.EXPECTED_GAIN).tolist(), strict=True))
    variance = record.parameter_table.by_name(Quantity.WEIGHT_VARIANCE)
    found = {}
    for layer in structure.layers:
        gain, healthy = given.get(layer.name, math.nan), healthy_gain(layer)
        if layer.normalised and layer.name in carried and layer.activation is None:
            healthy = 1.0
        if (parts := parts_of(layer)) != (layer,):
            gain = layer.forward_terms * variance.get(parts[0].weight, math.nan)
        excess = log_of(np.array([gain, healthy]))
        found[layer.name] = float(excess[0] - excess[1])
    return found


def constant_too(named: Iterable[Layer], history: History) -> list[Layer]:
    """Return the named layers and all others of constant weights, in execution order.

    Constant now; or at the first record, in a row with another: zeros in a row hand each other no gradient, and where biases
    end that, their units stay much alike. Left out, unless one of them is named, are the ends of residual branches, which
    may start at zero.
    """
    structure, chosen = history.structure, {layer.name for layer in named}
    ends = residual_branches.weights_at_ends(structure)
    if any(ends.intersection(mixing_weights(x)) for x in structure.layers if x.name in chosen):
        ends = frozenset()
    constant = _constant(history.last, structure)
    constant |= pairs_in_a_row(_constant(history.records[0], structure), structure)
    chosen |= {x.name for x in structure.layers if constant.difference(ends).intersection(mixing_weights(x))}
    return [layer for layer in structure.layers if layer.name in chosen]


def alike_from_the_start(named: Collection[str], history: History) -> list[Layer]:
    """Return all layers that began with weights of one number, if some of those named did so in a row; else none.

    Args:
        named: layers of a finding about a gradient of 0.
        history: a resumed run says nothing of its start.
    """
    first, structure = history.records[0], history.structure
    if first.step > 0:
        return []
    rowed = pairs_in_a_row(_constant(first, structure), structure)
    began = [x for x in structure.layers if x.name in named and rowed.intersection(mixing_weights(x))]
    return constant_too(began, history) if began else []


def _constant(record: StepRecord, structure: Structure) -> set[str]:
    """Return the names of the weights that are one number, of layers of which every weight is."""
    variance, count = (
        dict(zip(record.parameter_names, record.column(quantity).tolist(), strict=True))
        for quantity in (Quantity.WEIGHT_VARIANCE, Quantity.WEIGHT_COUNT)
    )
    found: set[str] = set()
    for layer in structure.layers:
        weights = [name for name in mixing_weights(layer) if name in variance]
        if all(variance[name] == 0 and count[name] > 1 for name in weights):
            found.update(weights)
    return found
