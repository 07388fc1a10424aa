"""Representations that are compared with each other, and that training has turned into one direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from init_monitor.analysis.lost_samples import ends_of
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Layer, StepRecord, Structure


class Turned(NamedTuple):
    """Outputs whose samples have come to point one way.

    Attributes:
        layers: whose output it is.
        before, now: share of the output's variance between samples at the first record and now, of the layer that keeps most.
        left: mean square of the gradient at these outputs, over that of the first record, at most.
    """

    layers: tuple[Layer, ...]
    before: float
    now: float
    left: float


def one_direction(
    records: Sequence[StepRecord], structure: Structure, *, share: float, factor: float, left: float
) -> Turned | None:
    """Return the outputs whose samples have become alike up to what is left of a share, while the loss asks for hardly anything more.

    Of outputs with a common direction the mean cosine of two samples is 1 - share. Their length does not matter, so that the
    variance between samples may grow all the while.

    Args:
        records: the first, and the latest that must all show it.
        structure: the network.
        share: of the variance that may lie between samples.
        factor: by which that share must have fallen since the first record.
        left: part of the first record's mean square of the gradient at these outputs that may be left.
    """
    ends = [layer for layer in ends_of(structure) if layer.compared and layer.fan_out > 1]
    seen = [_of(record, ends) for record in records]
    if not ends or any(one is None for one in seen):
        return None
    known = [one for one in seen if one is not None]
    first, latest = known[0], known[1:]
    for shares, pulls in latest:
        for now, pull, before, began in zip(shares, pulls, *first, strict=True):
            if not (now <= share and now * factor <= before and 0 <= pull <= left * began):
                return None
    shares, pulls = latest[-1]
    most = max(range(len(ends)), key=lambda i: shares[i])
    return Turned(
        tuple(ends),
        first[0][most],
        shares[most],
        max(pull / began if began > 0 else 0.0 for pull, began in zip(pulls, first[1], strict=True)),
    )


def _of(record: StepRecord, ends: Sequence[Layer]) -> tuple[list[float], list[float]] | None:
    """Return the share between samples and the mean square of the gradient of each layer; ``None`` if one did not run."""
    if any(layer.name not in record.names for layer in ends):
        return None
    table = record.layer_table
    return tuple(
        [table.at(layer.name, one) for layer in ends]
        for one in (Quantity.BETWEEN_SAMPLE_SHARE, Quantity.GRADIENT_MEAN_SQUARE)
    )  # type: ignore[return-value]
