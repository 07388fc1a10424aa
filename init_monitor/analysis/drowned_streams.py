"""Residual streams that their own branches drown from the first block on, though each branch starts from a normalised signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from init_monitor.analysis import residual_branches
from init_monitor.analysis.gains import healthy_gain
from init_monitor.analysis.residual_streams import Measured, streams
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.analysis.residual_streams import Stream
    from init_monitor.records import Layer, Residual, StepRecord, Structure


class Drowned(NamedTuple):
    """A stream whose branches are far larger than what they start from.

    Attributes:
        stream: its additions.
        branch: variance of a branch, median.
        entering: variance of what enters the first block.
        layers: those of the branches whose weights are far too large, in execution order.
        worst: the one of them that is furthest off.
        gain: fan_in · Var(W) of that one.
    """

    stream: Stream
    branch: float
    entering: float
    layers: tuple[Layer, ...]
    worst: Layer
    gain: float


def drowned_streams(record: StepRecord, structure: Structure, *, branch: float, layer: float) -> list[Drowned]:
    """Return the streams whose branches normalise what they get and make far more of it, by the size of their weights.

    Such a stream grows by the same amount at every block, so that its growth over depth is healthy, and a normalisation at
    its end hides how large it became.

    Args:
        record: the first of a run.
        structure: the network.
        branch: variance of a branch from which it drowns a stream; it starts from 1.
        layer: factor over the healthy gain from which the weights of a layer are far too large.
    """
    measured = Measured(record)
    normalising = residual_branches.normalising(structure)
    found = []
    for stream in streams(structure):
        inside = [one for one in stream.residuals if one.name in normalising]
        variance = measured.median(Quantity.RESIDUAL_BRANCH_VAR, stream)
        if not (2 * len(inside) > stream.blocks and variance >= branch):
            continue
        over = {one.name: (one, _over(one, record)) for one in _weights(inside, structure)}
        far = {name: (one, excess) for name, (one, excess) in over.items() if excess >= layer}
        if far:
            worst, _ = max(far.values(), key=lambda pair: pair[1])
            gain = record.layer_table.at(worst.name, Quantity.EXPECTED_GAIN)
            entering = float(measured.column(Quantity.RESIDUAL_SKIP_VAR, stream)[0])
            found.append(Drowned(stream, variance, entering, tuple(one for one, _ in far.values()), worst, gain))
    return found


def _weights(residuals: Sequence[Residual], structure: Structure) -> Iterator[Layer]:
    """Yield the layers with weights in some branches."""
    for residual in residuals:
        yield from (x for x in residual_branches.layers_of(residual, structure) if x.role is Role.WEIGHT and x.weight)


def _over(layer: Layer, record: StepRecord) -> float:
    """Return how many times what its weights make of the signal is what keeps it; NaN where that is not known."""
    return record.layer_table.at(layer.name, Quantity.EXPECTED_GAIN) / healthy_gain(layer)
