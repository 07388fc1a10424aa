"""What one process measured in a step, as arrays that can be reduced by sum, maximum and bitwise or."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.capture.drained import UnitReading
from init_monitor.measures import COUNT, HIGH, LOW, M2, MEAN, NONFINITE, SATURATED, WIDTH, ZEROS
from init_monitor.records import LossStretch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from init_monitor.capture.catalogue import Catalogue, Key, Sizes, Slot
    from init_monitor.capture.taps import TapKey

    Numbers = NDArray[np.float64]

ADDED = (COUNT, ZEROS, NONFINITE, SATURATED)
"""Columns of a row that are sums."""

TURN = 1 << 20
"""More taps than a process ever has: the rank times this, plus a position in its order, encodes both."""

MOST_LOSSES = 1 << 20
"""Optimizer steps between two records whose losses are put together at most (16 MB); of more, the last ones."""


class Share(NamedTuple):
    """What one process measured.

    Attributes:
        catalogue: all that it knows of.
        rows: ``[keys, WIDTH]`` of its catalogue; neutral where nothing was measured.
        order: which taps ran, in execution order.
        units: of some tensors.
        seen: samples, and positions per unit, of those tensors.
        ties: a digest of what ran and of what fed what, of 62 bits.
    """

    catalogue: Catalogue
    rows: Numbers
    order: Sequence[TapKey] = ()
    units: Mapping[Slot, UnitReading] = {}
    seen: Mapping[Key, tuple[int, int]] = {}
    ties: int = 0


class Parcel(NamedTuple):
    """A share packed for a catalogue that all processes have.

    Attributes:
        sums: what is added up.
        counts, means, squares: of each row, for the deviations about the common mean.
        extremes: of what the largest counts.
        signs: bits of which any counts.
    """

    sums: Numbers
    counts: Numbers
    means: Numbers
    squares: Numbers
    extremes: Numbers
    signs: NDArray[np.uint8]


class Together(NamedTuple):
    """What all processes measured, as one would have.

    Attributes:
        catalogue: what is in it.
        rows: ``[keys, WIDTH]``.
        order: which taps ran: in the order of the first process, then what only others ran, in theirs.
        units: by place of the tensor in the catalogue.
        samples, positions: ``[keys]``, of those that have units.
    """

    catalogue: Catalogue
    rows: Numbers
    order: Sequence[TapKey]
    units: Mapping[int, Sequence[UnitReading]]
    samples: NDArray[np.int64]
    positions: NDArray[np.int64]


def nothing(sizes: Sizes, losses: int) -> Parcel:
    """Return the parcel of a process that has nothing to report."""
    rows, slots, units, signs, taps = sizes
    none = np.zeros(rows)
    return Parcel(
        np.zeros((len(ADDED) + 1) * rows + 4 * slots + units + 2 * losses),
        none,
        none,
        none,
        np.full(2 * rows + taps, -np.inf),
        np.zeros(-(-2 * signs // 8), np.uint8),
    )


def packed(share: Share, catalogue: Catalogue, rank: int) -> Parcel:
    """Pack a share; its losses have no place yet (see :func:`with_losses`).

    Args:
        share: of a process.
        catalogue: covers that of the share.
        rank: number of the process.
    """
    sizes = catalogue.sizes
    places = catalogue.places_of(share.catalogue)
    rows = np.zeros((sizes.rows, WIDTH))
    rows[:, LOW], rows[:, HIGH] = np.inf, -np.inf
    rows[places] = share.rows
    with np.errstate(all="ignore"):
        totals = rows[:, COUNT] * rows[:, MEAN]
    flat, slots = np.zeros(sizes.units), np.zeros((4, sizes.slots))
    positive, nonpositive = np.zeros(sizes.signs, np.bool_), np.zeros(sizes.signs, np.bool_)
    told = set()
    for slot, units in share.units.items():
        at = catalogue.slot_places[slot]
        flat[catalogue.spans[at]] = units.sums
        samples, positions = (0, 0) if slot.key in told else share.seen[slot.key]
        told.add(slot.key)
        slots[:, at] = 1, units.squares, samples, positions
        if units.positive is not None:
            flags = catalogue.sign_spans[at]
            positive[flags], nonpositive[flags] = units.positive, units.nonpositive
    turns = np.full(sizes.taps, -np.inf)
    ran = {key: place for place, key in enumerate(share.order)}
    for place, key in enumerate(catalogue.taps):
        if key in ran:
            turns[place] = -(rank * TURN + ran[key])
    return Parcel(
        np.concatenate([*(rows[:, column] for column in ADDED), totals, slots.reshape(-1), flat]),
        rows[:, COUNT],
        rows[:, MEAN],
        rows[:, M2],
        np.concatenate([-rows[:, LOW], rows[:, HIGH], turns]),
        np.packbits(np.concatenate([positive, nonpositive])),
    )


def with_losses(sums: Numbers, losses: LossStretch, first: int, steps: int) -> Numbers:
    """Append the losses of ``steps`` optimizer steps from ``first`` on: their values, then whether each is known."""
    values, known = np.zeros(steps), np.zeros(steps)
    places = losses.steps - first
    inside = (places >= 0) & (places < steps)
    values[places[inside]], known[places[inside]] = losses.values[inside], 1
    return np.concatenate([sums, values, known])


def mean_of(sums: Numbers, rows: int) -> Numbers:
    """Return the common mean of each row, 0 where there is no element."""
    counts, totals = sums[:rows], sums[len(ADDED) * rows : (len(ADDED) + 1) * rows]
    return np.divide(totals, counts, out=np.zeros(rows), where=counts > 0)


def deviations(parcel: Parcel, means: Numbers) -> Numbers:
    """Return each row's squared deviations about the common mean. Source: Chan, Golub, LeVeque 1979, Eq. 2.1."""
    with np.errstate(all="ignore"):
        offsets = parcel.means - means
        moved = parcel.squares + parcel.counts * offsets * offsets
    return np.where(parcel.counts > 0, moved, 0.0)


def averaged(sums: Numbers, first: int, steps: int) -> LossStretch:
    """Return the mean loss over the processes that know it: that of the whole batch, in equal shares."""
    if not steps:
        return LossStretch()
    values, known = sums[-2 * steps : -steps], sums[-steps:]
    there = np.flatnonzero(known)
    return LossStretch.of(zip((there + first).tolist(), (values[there] / known[there]).tolist(), strict=True))


def unpacked(
    catalogue: Catalogue, sums: Numbers, squares: Numbers, extremes: Numbers, signs: NDArray[np.uint8]
) -> Together:
    """Read what the processes reduced: sums, squared deviations, largest values and bits of all their parcels."""
    sizes = catalogue.sizes
    count = sizes.rows
    rows = np.empty((count, WIDTH))
    for place, column in enumerate(ADDED):
        rows[:, column] = sums[place * count : (place + 1) * count]
    rows[:, MEAN], rows[:, M2] = mean_of(sums, count), squares
    rows[:, LOW], rows[:, HIGH] = -extremes[:count], extremes[count : 2 * count]
    at = (len(ADDED) + 1) * count
    arrived, unit_squares, samples, positions = sums[at : at + 4 * sizes.slots].reshape(4, -1)
    flat = sums[at + 4 * sizes.slots : at + 4 * sizes.slots + sizes.units]
    flags = np.unpackbits(signs, count=2 * sizes.signs).astype(np.bool_)
    positive, nonpositive = flags[: sizes.signs], flags[sizes.signs :]
    units: dict[int, list[UnitReading]] = {}
    seen = np.zeros((2, count))
    for place, slot in enumerate(catalogue.slots):
        if not arrived[place]:
            continue
        key = catalogue.places[slot.key]
        seen[:, key] += samples[place], positions[place]
        bits = catalogue.sign_spans[place]
        units.setdefault(key, []).append(
            UnitReading(
                flat[catalogue.spans[place]],
                float(unit_squares[place]),
                positive[bits] if slot.signs else None,
                nonpositive[bits] if slot.signs else None,
            )
        )
    turns = -extremes[2 * count :]
    order = [catalogue.taps[place] for place in np.argsort(turns, kind="stable") if np.isfinite(turns[place])]
    return Together(catalogue, rows, order, units, *seen.astype(np.int64))
