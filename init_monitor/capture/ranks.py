"""Several processes, one training: what each measured of its share of the batch, put together once per sampled step.

Counts, means and squared deviations merge exactly (Chan, Golub, LeVeque 1979), so that the record of a step is the one
a single process would have written of the whole batch. Every rank gets the same numbers and so comes to the same
findings. The exchange has a process group of its own (gloo, on the host): it can neither overtake nor delay a collective
of the training, and its time is limited. A rank whose monitor failed still takes part, with nothing to tell.
"""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import distributed

from init_monitor.measures import COUNT, M2, NONFINITE, SATURATED, ZEROS, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from init_monitor.capture.accumulator import Accumulator
    from init_monitor.capture.drained import Drained, UnitReading
    from init_monitor.records import Column

    Key = tuple[str | int, ...]

PATIENCE = dt.timedelta(minutes=5)
"""How long a rank waits for the others at a sampled step. They meet at every backward, so that a wait of minutes means
that one is gone (or writes a very large checkpoint alone)."""


class Stream(NamedTuple):
    """One measured tensor on one rank: its row of partial sums, its units, and how much of them was seen."""

    row: Column
    units: Sequence[UnitReading] = ()
    samples: int = 0
    positions: int = 0


class Share(NamedTuple):
    """What one rank tells the others: a digest of what ran, and what was measured, by a name all ranks use."""

    ties: bytes
    streams: Mapping[Key, Stream]


class Address(NamedTuple):
    """Where a stream is kept on this rank."""

    accumulator: Accumulator
    row: int


class Ranks:
    """The processes of a training and their exchange; with one process nothing is exchanged.

    Args:
        notify: told in words, once, when the others could not be reached: each rank then goes on by itself.

    Attributes:
        size: how many there are; 1 once they could not be reached.
    """

    def __init__(self, notify: Callable[[str], None]) -> None:
        """Begin as the only process."""
        self._notify = notify
        self._group: Any = None
        self.size = 1

    def join(self) -> None:
        """Join the other processes. All of them have to call it, at the same point of the training."""
        if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() == 1:
            return
        try:
            self._group = distributed.new_group(backend="gloo", timeout=PATIENCE)
            self.size = distributed.get_world_size(self._group)
        except Exception as error:  # noqa: BLE001 - measuring must not stop a training
            self._leave(error)

    def exchange(self, own: object) -> list[Any]:
        """Return what every rank gave, in their order. Blocks until all have; never raises."""
        if self.size == 1:
            return [own]
        given: list[Any] = [None] * self.size
        try:
            distributed.all_gather_object(given, own, group=self._group)
        except Exception as error:  # noqa: BLE001 - a rank that is gone must not stop the others
            self._leave(error)
            return [own]
        return given

    def leave(self) -> None:
        """Part from the others at the end of a training. Waits for nobody and never raises."""
        if self._group is not None and distributed.is_initialized():
            # The training may have taken all groups down already, this one too.
            with suppress(Exception):
                distributed.destroy_process_group(self._group)
        self._group, self.size = None, 1

    def _leave(self, error: Exception) -> None:
        # The group is left to itself: taking it down could wait for the others again.
        self._group, self.size = None, 1
        self._notify(
            f"the other processes could not be reached ({type(error).__name__}: {error}): from now on the numbers are"
            " those of each process alone."
        )


def stream_at(accumulator: Accumulator, row: int, drained: Mapping[Accumulator, Drained]) -> Stream | None:
    """Return what was measured in a row, ``None`` if nothing was."""
    found = drained.get(accumulator)
    if found is None or not 0 <= row < len(found.rows) or not seen_in(found.rows[row]):
        return None
    units = tuple(found.units.get(row, ()))
    return Stream(found.rows[row].copy(), units, found.samples.get(row, 0), found.positions.get(row, 0))


def share_of(addresses: Mapping[Key, Address], ties: bytes, drained: Mapping[Accumulator, Drained]) -> Share:
    """Return what this rank measured in a step, as the others can read it."""
    streams = {}
    for key, (accumulator, row) in addresses.items():
        found = stream_at(accumulator, row, drained)
        if found is not None:
            streams[key] = found
    return Share(ties, streams)


def unlike(shares: Sequence[Share | None]) -> bool:
    """Say whether some ranks executed other things in a step than others; one that has nothing to tell does not count."""
    return len({share.ties for share in shares if share is not None}) > 1


def merged(shares: Sequence[Share]) -> dict[Key, Stream]:
    """Put the shares of all ranks together: what one process would have measured of everything."""
    keys: dict[Key, int] = {}
    for share in shares:
        for key in share.streams:
            keys.setdefault(key, len(keys))
    if not keys:
        return {}
    streams = [(keys[key], stream) for share in shares for key, stream in share.streams.items()]
    partials = torch.from_numpy(np.stack([stream.row for _, stream in streams]).astype(np.float64))
    rows = merge(partials, torch.tensor([position for position, _ in streams]), len(keys)).numpy()
    together: list[list[Stream]] = [[] for _ in keys]
    for position, stream in streams:
        together[position].append(stream)
    return {
        key: Stream(
            rows[position],
            tuple(units for stream in together[position] for units in stream.units),
            sum(stream.samples for stream in together[position]),
            sum(stream.positions for stream in together[position]),
        )
        for key, position in keys.items()
    }


def put_back(
    streams: Mapping[Key, Stream], addresses: Mapping[Key, Address], drained: Mapping[Accumulator, Drained]
) -> None:
    """Write merged streams where this rank keeps its own; what it has no place for is left out."""
    for key, stream in streams.items():
        address = addresses.get(key)
        found = None if address is None else drained.get(address.accumulator)
        if address is None or found is None or address.row >= len(found.rows):
            continue
        found.rows[address.row] = stream.row
        found.samples[address.row], found.positions[address.row] = stream.samples, stream.positions
        if stream.units:
            found.units[address.row] = list(stream.units)


def one_copy(row: Column, copies: float) -> NDArray[np.float64]:
    """Return a row that was merged from that many copies of one tensor as the row of one copy."""
    result = row.copy()
    result[[COUNT, M2, ZEROS, NONFINITE, SATURATED]] /= copies
    return result


def seen_in(row: Column) -> float:
    """Return how many elements a row stands for."""
    return float(row[COUNT] + row[NONFINITE])
