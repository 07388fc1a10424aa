"""Initial parameters that are off in other ways than the variance of a weight: not centred, scales of normalisations, biases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.analysis.activations import Shape, activation_called
from init_monitor.analysis.attention_parts import parts_of
from init_monitor.records import Role
from init_monitor.records.once import once
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import Layer, StepRecord, Structure

NEARLY_ALL = 0.75
"""Part of the layers of a kind from which it is the network's: a few may be meant so."""

FEWEST = 3
"""Weights that have to count."""

TERMS = 8
"""Terms of a sum from which the mean of its weights is no accident: that of eight random ones is a third of their spread."""

CONSTANT = 1e-12
"""Var(w)/E[w²] up to which all elements are one number: rounding alone."""

GAINS = (1e-3, 25.0)
"""Squares of a normalisation's scale that are far off: the smallest that is in use, 0.1 (Cooijmans et al. 2017, Section 4, in a
recurrent network), gives 1e-2. From 5 on a softmax or tanh behind it saturates."""

LARGE_BIAS = 4.0
"""Variance of a layer's biases over its units from which they are far too large: with a standard deviation of 2 a unit of a standard
signal is on, or off, for nearly every sample. torch's own have 1/(3 · fan_in), biases of gates (1 to log T) hardly differ between units."""

OUTWEIGHS = 9.0
"""And times the variance of what the weights add: the signal is then a third of the constant."""


_BOUNDED = frozenset({Shape.BOUNDED, Shape.DISTRIBUTION})


@once
def uncentred(first: StepRecord, structure: Structure) -> tuple[Layer, ...]:
    """Return the layers whose weights all have one sign or nearly so, if nearly all layers of the network do.

    ``torch.rand`` instead of ``torch.randn``: every output is the mean of the inputs times a number, the same for all units. From
    a mean as large as the spread on (0.6 of it is what the absolute values of normal numbers leave) half of what a unit gets of inputs
    that are alike is that. Constant weights are told elsewhere; frozen ones may average on purpose.
    """
    at = first.parameter_table.at
    known, found = 0, []
    for layer in _weights(structure):
        mean, variance = at(layer.weight, Quantity.WEIGHT_MEAN), at(layer.weight, Quantity.WEIGHT_VARIANCE)
        if at(layer.weight, Quantity.TRAINABLE) == 0 or not mean * mean + variance > 0 or layer.forward_terms < TERMS:
            continue
        known += 1
        if mean * mean >= variance > CONSTANT * mean * mean:
            found.append(layer)
    return tuple(found) if len(found) >= max(FEWEST, NEARLY_ALL * known) else ()


def odd_scales(first: StepRecord, structure: Structure) -> tuple[Layer, ...]:
    """Return the normalisations that begin with one scale far from 1, if nearly all do; zeros (an end, an offset from 1) are meant.

    A large one matters where something behind it saturates; else the next normalisation takes it out.
    """
    at = first.parameter_table.at
    low, high = GAINS
    norms = {x.weight: x for x in structure.layers if x.role is Role.NORMALISATION and x.weight}
    found = []
    for weight, layer in norms.items():
        square = at(weight, Quantity.WEIGHT_MEAN) ** 2
        same = at(weight, Quantity.WEIGHT_VARIANCE) <= CONSTANT * square
        if same and (0 < square <= low or (square >= high and _saturates(structure))):
            found.append(layer)
    return tuple(found) if found and len(found) >= NEARLY_ALL * len(norms) else ()


def large_biases(first: StepRecord, structure: Structure, outputs: frozenset[str]) -> tuple[Layer, ...]:
    """Return the layers whose biases outweigh what their weights make of the input.

    Not those of an output (the mean of the targets, the rarity of a class), before a sine (phases), before a normalisation (which may
    take them out), and of a layer that reads no data.
    """
    at = first.parameter_table.at
    found = []
    for layer in structure.layers:
        if (
            layer.role is not Role.WEIGHT
            or not layer.bias
            or layer.name in outputs
            or layer.frequency
            or layer.normalised
        ):
            continue
        variance = at(layer.bias, Quantity.WEIGHT_VARIANCE)
        table = first.layer_table
        made = table.at(layer.name, Quantity.EXPECTED_GAIN) * table.at(layer.name, Quantity.INPUT_MEAN_SQUARE)
        if at(layer.bias, Quantity.TRAINABLE) != 0 and made > 0 and variance >= max(LARGE_BIAS, OUTWEIGHS * made):
            found.append(layer)
    return tuple({layer.bias: layer for layer in found}.values())


def biases_beside(first: StepRecord, structure: Structure) -> tuple[str, ...]:
    """Return the names of all biases that are as large, where some outweigh the signal: what comes after those is large because of them."""
    at = first.parameter_table.at
    owners = [x for x in structure.layers if x.role is Role.WEIGHT and x.bias and not x.frequency]
    names = dict.fromkeys(x.bias for x in owners)
    return tuple(x for x in names if at(x, Quantity.WEIGHT_VARIANCE) >= LARGE_BIAS and at(x, Quantity.TRAINABLE) != 0)


def _saturates(structure: Structure) -> bool:
    known = (activation_called(x.kind) for x in structure.layers if x.role is Role.ACTIVATION)
    return bool(structure.attentions) or any(x is not None and x.shape in _BOUNDED for x in known)


def _weights(structure: Structure) -> list[Layer]:
    """Return the layers with a weight that sums, those of an attention part by part, each weight once."""
    parts = {
        part.weight: part
        for layer in reversed(structure.layers)
        if layer.role is Role.WEIGHT and not layer.is_embedding
        for part in parts_of(layer)
        if part.weight
    }
    return list(parts.values())[::-1]
