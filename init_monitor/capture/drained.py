"""One device's numbers on their way to the host: packed into bytes on the device, copied once, unpacked here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from init_monitor.measures import WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from init_monitor.capture.unit_blocks import UnitBlock


class UnitReading(NamedTuple):
    """One row's units on the host: their sums, and which saw a positive and a non-positive value."""

    sums: NDArray[np.float64]
    squares: float
    positive: NDArray[np.bool_] | None
    nonpositive: NDArray[np.bool_] | None


@dataclass(slots=True)
class Drained:
    """What one device measured over a sampled step, on the host.

    Attributes:
        rows: ``[R, WIDTH]`` merged partial rows.
        units: by row, what its units did (a row met in batches of unlike structure has several entries).
        samples: by row, batch items seen.
        positions: by row, values per unit seen (batch items times positions).
        also: numbers that were copied along.
        flags: truth values that were.
    """

    rows: NDArray[np.float64]
    units: dict[int, list[UnitReading]] = field(default_factory=dict)
    samples: dict[int, int] = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=dict)
    also: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    flags: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))


def drained(
    rows: Tensor, blocks: Sequence[UnitBlock], also: Tensor | None = None, flags: Tensor | None = None
) -> Drained:
    """Copy everything to the host, once.

    Args:
        rows: ``[R, WIDTH]`` merged partial rows.
        blocks: what the units of the same rows did.
        also: ``[n]`` numbers of the same device to copy along.
        flags: ``[m]`` truth values, likewise.
    """
    parts = [rows.reshape(-1).view(torch.uint8)]
    for block in blocks:
        parts += [block.sums.view(torch.uint8), block.squares.view(torch.uint8)]
        if block.highs is not None and block.lows is not None:
            # A NaN proves neither dead nor all positive: it counts as having seen both signs.
            parts += [(block.highs <= 0).logical_not_().view(torch.uint8)]
            parts += [(block.lows > 0).logical_not_().view(torch.uint8)]
    if also is not None:
        parts.append(also.to(rows.dtype).view(torch.uint8))
    if flags is not None:
        parts.append(flags.view(torch.uint8))
    packed = torch.cat(parts).cpu().numpy()
    cursor = _Cursor(packed, np.dtype(str(rows.dtype).removeprefix("torch.")))
    read = Drained(cursor.numbers(rows.shape[0] * WIDTH).reshape(rows.shape[0], WIDTH))
    for block in blocks:
        for row, reading in _readings(block, cursor):
            read.units.setdefault(row, []).append(reading)
    if also is not None:
        read.also = cursor.numbers(also.numel())
    if flags is not None:
        read.flags = cursor.flags(flags.numel())
    return read


class _Cursor:
    """Reads the packed bytes front to back."""

    def __init__(self, packed: NDArray[np.uint8], wide: np.dtype[np.float64]) -> None:
        self._packed, self._wide, self._at = packed, wide, 0

    def numbers(self, count: int) -> NDArray[np.float64]:
        raw = self._packed[self._at : self._at + count * self._wide.itemsize]
        self._at += raw.size
        return np.frombuffer(raw.tobytes(), self._wide).astype(np.float64)

    def flags(self, count: int) -> NDArray[np.bool_]:
        raw = self._packed[self._at : self._at + count]
        self._at += count
        return raw.astype(np.bool_)


def _readings(block: UnitBlock, cursor: _Cursor) -> Iterator[tuple[int, UnitReading]]:
    sums, squares = cursor.numbers(block.sums.numel()), cursor.numbers(block.squares.numel())
    size = 0 if block.highs is None else block.highs.numel()
    positive, nonpositive = cursor.flags(size), cursor.flags(size)
    at = flag_at = square_at = 0
    for rows, units, rectifier in block.key:
        for row in rows:
            flags = slice(flag_at, flag_at + units)
            yield (
                row,
                UnitReading(
                    sums[at : at + units],
                    float(squares[square_at]),
                    positive[flags] if rectifier else None,
                    nonpositive[flags] if rectifier else None,
                ),
            )
            at, square_at = at + units, square_at + 1
            flag_at += units if rectifier else 0
