"""Where this process keeps the shared tensors: its own numbers are read from there, and merged ones written back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.capture.catalogue import Catalogue, Slot
from init_monitor.capture.drained import UnitReading
from init_monitor.capture.share import Share
from init_monitor.measures import COUNT, HIGH, LOW, M2, MEAN, NONFINITE, SATURATED, WIDTH, ZEROS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from numpy.typing import NDArray

    from init_monitor.capture.accumulator import Accumulator
    from init_monitor.capture.catalogue import Key
    from init_monitor.capture.drained import Drained
    from init_monitor.capture.share import Together
    from init_monitor.capture.taps import TapKey

MOST_SLOTS = 4
"""Numbers of units of one tensor that have a place; of a tensor whose units change in number all the time, the last ones."""


class Address(NamedTuple):
    """Where a tensor's numbers are kept in this process.

    Attributes:
        accumulator: of its device.
        row: in it.
        whole: elements of the tensor, where every process may hold a copy of it, which then counts once; 0 if not.
    """

    accumulator: Accumulator
    row: int
    whole: int = 0


class Directory:
    """The addresses of one capture, collected again only when there are new ones."""

    def __init__(self) -> None:
        self._signature: Hashable = None
        self._keys: tuple[Key, ...] = ()
        self._rows: dict[Accumulator, tuple[NDArray[np.intp], NDArray[np.intp]]] = {}
        self._owners: dict[tuple[Accumulator, int], Key] = {}
        self._addresses: Mapping[Key, Address] = {}
        self._whole = np.empty(0)
        self._slots: dict[Key, dict[Slot, None]] = {}
        self._catalogue = Catalogue(())

    def renew(self, signature: Hashable, addresses: Callable[[], Mapping[Key, Address]]) -> None:
        """Look up all addresses, if the signature has changed."""
        if signature == self._signature:
            return
        found = addresses()
        by_accumulator: dict[Accumulator, list[tuple[int, int]]] = {}
        for place, address in enumerate(found.values()):
            by_accumulator.setdefault(address.accumulator, []).append((address.row, place))
        self._rows = {}
        for accumulator, pairs in by_accumulator.items():
            rows, places = np.array(pairs, np.intp).T
            self._rows[accumulator] = rows, places
        self._keys, self._addresses, self._signature = tuple(found), found, signature
        self._owners = {(address.accumulator, address.row): key for key, address in found.items()}
        self._whole = np.array([address.whole for address in found.values()], np.float64)
        self._slots = {key: slots for key, slots in self._slots.items() if key in found}
        self._renew_catalogue()

    def share(self, drained: Mapping[Accumulator, Drained], order: Sequence[TapKey]) -> Share:
        """Return what this process measured in a step, as the others can read it."""
        rows = np.zeros((len(self._keys), WIDTH))
        units: dict[Slot, UnitReading] = {}
        seen: dict[Key, tuple[int, int]] = {}
        for accumulator, (own, places) in self._rows.items():
            found = drained[accumulator]
            rows[places] = found.rows[own]
            for row, readings in found.units.items():
                key = self._owners.get((accumulator, row))
                if key is None:
                    continue
                seen[key] = found.samples.get(row, 0), found.positions.get(row, 0)
                for reading in readings:
                    slot = Slot(key, reading.sums.size, reading.positive is not None)
                    units[slot] = _both(units[slot], reading) if slot in units else reading
        # A row that nothing was added to is zeros, which would be its extremes.
        empty = rows[:, COUNT] == 0
        rows[empty, MEAN] = rows[empty, M2] = 0.0
        rows[empty, LOW], rows[empty, HIGH] = np.inf, -np.inf
        if any(slot not in self._catalogue.slot_places for slot in units):
            for slot in units:
                known = self._slots.setdefault(slot.key, {})
                known[slot] = None
                for old in [one for one in known if one not in units][: max(0, len(known) - MOST_SLOTS)]:
                    del known[old]
            self._renew_catalogue()
        return Share(self._catalogue, rows, order, units, seen)

    def take_over(self, together: Together, drained: Mapping[Accumulator, Drained]) -> None:
        """Write what all processes measured where this one keeps its own; what it has no place for is left out."""
        places = together.catalogue.places_of(self._catalogue)
        merged = one_copy(together.rows[places], self._whole)
        for accumulator, (own, own_places) in self._rows.items():
            drained[accumulator].rows[own] = merged[own_places]
        for place, units in together.units.items():
            address = self._addresses.get(together.catalogue.keys[place])
            if address is not None:
                found = drained[address.accumulator]
                found.units[address.row] = list(units)
                found.samples[address.row] = int(together.samples[place])
                found.positions[address.row] = int(together.positions[place])

    def _renew_catalogue(self) -> None:
        self._catalogue = Catalogue(self._keys, (slot for slots in self._slots.values() for slot in slots))


def one_copy(rows: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows that were merged from several copies of one tensor as the rows of one copy.

    DDP keeps a whole one in every process, FSDP a part in each; a hybrid keeps copies of the parts.

    Args:
        rows: ``[keys, WIDTH]``.
        whole: ``[keys]``, elements of one copy; 0 for what there is one of.
    """
    result = rows.copy()
    seen = rows[:, COUNT] + rows[:, NONFINITE]
    copies = np.where((whole > 0) & (seen > 0), seen, 1.0) / np.where((whole > 0) & (seen > 0), whole, 1.0)
    result[:, [COUNT, M2, ZEROS, NONFINITE, SATURATED]] /= copies[:, None]
    return result


def _both(one: UnitReading, other: UnitReading) -> UnitReading:
    positive = nonpositive = None
    if one.positive is not None and other.positive is not None:
        positive = one.positive | other.positive
    if one.nonpositive is not None and other.nonpositive is not None:
        nonpositive = one.nonpositive | other.nonpositive
    return UnitReading(one.sums + other.sums, one.squares + other.squares, positive, nonpositive)
