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
    """

    layers: tuple[Layer, ...]
    into: Layer | None
    before: float
    now: float
    share: float


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


def lost_in_noise(records: Sequence[StepRecord], structure: Structure, *, factor: float, share: float) -> Loss | None:
    """Return the layers whose output has become negligible against what is added to it.

    That is the code of a variational autoencoder: its decoder gets it with noise, which no layer made. Noise that the network draws
    itself is seen by what arrives: no layer accounts for it, neither that of the means nor that of the variances.

    Args:
        records: the first, and the latest that must all show it.
        structure: the network.
        factor: by which the variance of the code must have fallen.
        share: of the variance that arrives that may be left of it.
    """
    known = structure.by_name()
    for layer in structure.layers:
        made = [known[name] for name in layer.inputs if name in known]
        noisy = INPUT in layer.inputs or len(made) >= len(("mean", "variance"))
        if layer.role is not Role.WEIGHT or not noisy or not made:
            continue
        if any(one.role is not Role.WEIGHT for one in made):
            continue
        before, now = _variance(records[0], made), _variance(records[-1], made)
        arriving = [record.layer_table.at(layer.name, Quantity.INPUT_VARIANCE) for record in records]
        if all(
            _variance(record, made) * factor <= before and _variance(record, made) <= share * received
            for record, received in zip(records[1:], arriving[1:], strict=True)
        ):
            return Loss(tuple(made), layer, before, now, now / arriving[-1])
    return None


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
