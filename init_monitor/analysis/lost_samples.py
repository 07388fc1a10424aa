"""What training did to the differences between samples: at the end of a network, and in a code that is decoded with noise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.records import INPUT, Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.records import Layer, StepRecord, Structure


class Loss(NamedTuple):
    """What was lost since the first record.

    Attributes:
        layers: where.
        into: the layer that gets it together with noise; ``None`` at the end of the network.
        before, now: variance between samples of an output (of a code: its variance) at the first record and at the last.
        share: of the whole variance of the output (of a code: of what ``into`` gets) that it is now.
        outweighed: of a code, how many times what comes back through ``into`` the gradient that reaches it was at most; NaN at
            the end of the network.
    """

    layers: tuple[Layer, ...]
    into: Layer | None
    before: float
    now: float
    share: float
    outweighed: float = math.nan


class Drowned(NamedTuple):
    """From where on a code counts as lost in what is added to it.

    Attributes:
        factor: by which the variance of the code must have fallen since the first record.
        share: of the variance that arrives that may be left of it.
        pressed: share that may be left of it where the loss itself presses it out: what is still to come is then known.
        pressed_factor: by which its part of what arrives must have fallen there.
    """

    factor: float
    share: float
    pressed: float
    pressed_factor: float


def lost_at_the_end(records: Sequence[StepRecord], structure: Structure, *, factor: float, share: float) -> Loss | None:
    """Return the output layers for which all samples have become alike, where they were not at the first record.

    Args:
        records: the first, and the latest that must all show it.
        structure: the network.
        factor: by which the variance between samples must have fallen.
        share: of the output's variance that may be left of it.
    """
    ends = [layer for layer in ends_of(structure) if layer.weight]
    found = []
    for layer in ends:
        before = _between(records[0], layer)
        if before > 0 and all(
            _between(record, layer) * factor <= before and _share(record, layer) <= share for record in records[1:]
        ):
            found.append(layer)
    # If another output still tells the samples apart, this one may be meant to be constant.
    if not found or len(found) < len(ends):
        return None
    last = records[-1]
    return Loss(
        tuple(found),
        None,
        max(_between(records[0], layer) for layer in found),
        max(_between(last, layer) for layer in found),
        max(_share(last, layer) for layer in found),
    )


def lost_in_noise(records: Sequence[StepRecord], structure: Structure, limits: Drowned) -> Loss | None:
    """Return the layers whose output has become negligible against what is added to it, or is being made so by the loss.

    That is the code of a variational autoencoder: its decoder gets it with noise, which no layer made. Noise that the network draws
    itself is seen by what arrives: no layer accounts for it, neither that of the means nor that of the variances.

    A term of the loss that asks for a code of 0 (the KL term) pulls at a code x with a force that is linear in x, and the decoder
    pulls against it. If the whole gradient at the code is r times what comes back through the decoder, the two balance where
    the code is 1/r of what it is now, and its share of the variance 1/r² of that. Where that is too little, nothing has to be waited for.

    Args:
        records: the first, and the latest that must all show it.
        structure: the network.
        limits: from where on it counts.
    """
    for layer, made in _noisy(structure):
        before, now = _variance(records[0], made), _variance(records[-1], made)
        shares = [_variance(one, made) / one.layer_table.at(layer.name, Quantity.INPUT_VARIANCE) for one in records]
        forces = [_outweighed(one, layer, made) for one in records]
        gone = all(
            _variance(record, made) * limits.factor <= before and share <= limits.share
            for record, share in zip(records[1:], shares[1:], strict=True)
        )
        pressed = shares[-1] * limits.pressed_factor <= shares[0] and all(
            share <= limits.pressed and share <= limits.share * force**2
            for share, force in zip(shares[1:], forces[1:], strict=True)
        )
        if gone or pressed:
            strongest = max((force for force in forces if force >= 0), default=math.nan)
            return Loss(tuple(made), layer, before, now, shares[-1], strongest)
    return None


def _noisy(structure: Structure) -> Iterator[tuple[Layer, list[Layer]]]:
    """Yield the weight layers that may get what others made together with noise, and these others."""
    known = structure.by_name()
    for layer in structure.layers:
        made = [known[name] for name in layer.inputs if name in known]
        noisy = INPUT in layer.inputs or len(made) >= len(("mean", "variance"))
        if layer.role is Role.WEIGHT and noisy and made and all(one.role is Role.WEIGHT for one in made):
            yield layer, made


def _outweighed(record: StepRecord, layer: Layer, made: Sequence[Layer]) -> float:
    """Return the gradient at a code over what comes back through the layer that reads it, by the least of its parts.

    A weight of independent elements makes fan_out · Var(W) of the mean square of a gradient.
    """
    table = record.layer_table
    through = table.at(layer.name, Quantity.GRADIENT_MEAN_SQUARE) * table.at(
        layer.name, Quantity.EXPECTED_BACKWARD_GAIN
    )
    arriving = [table.at(one.name, Quantity.GRADIENT_MEAN_SQUARE) for one in made]
    return math.sqrt(min(arriving) / through) if through > 0 and min(arriving) >= 0 else math.nan


def ends_of(structure: Structure) -> Iterator[Layer]:
    """Yield the weight layers that no other layer reads: the outputs of the network."""
    read = {name for layer in structure.layers for name in layer.inputs}
    read |= {residual.skip for residual in structure.residuals} | {residual.branch for residual in structure.residuals}
    weights = [layer for layer in structure.layers if layer.role is Role.WEIGHT]
    # What is not followed to its reader (nothing is known of the layer after it) is not an end.
    last = max((layer.depth for layer in structure.layers if not layer.inputs), default=-1)
    yield from (layer for layer in weights if layer.name not in read and (layer.depth >= last or layer is weights[-1]))


def _between(record: StepRecord, layer: Layer) -> float:
    """Return the variance between samples of an output."""
    return record.layer_table.at(layer.name, Quantity.VARIANCE) * _share(record, layer)


def _share(record: StepRecord, layer: Layer) -> float:
    """Return which share of an output's variance that is; 0 where the whole output is constant."""
    table = record.layer_table
    constant = table.at(layer.name, Quantity.VARIANCE) == 0
    return 0.0 if constant else table.at(layer.name, Quantity.BETWEEN_SAMPLE_SHARE)


def _variance(record: StepRecord, layers: Sequence[Layer]) -> float:
    values = [record.layer_table.at(layer.name, Quantity.VARIANCE) for layer in layers]
    return max(values) if not any(map(math.isnan, values)) else math.nan
