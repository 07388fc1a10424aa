"""What single units and samples of each layer did, as columns of a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from init_monitor.capture.unit_window import UnitWindow
from init_monitor.measures import between_sample_shares, position_shares
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from init_monitor.capture.drained import UnitReading
    from init_monitor.capture.reader import Reader
    from init_monitor.capture.taps import Tap, TapKey
    from init_monitor.records import Column

    Columns = dict[Quantity, Column]


def unit_columns(
    columns: Columns, taps: Sequence[Tap], reader: Reader, windows: dict[TapKey, UnitWindow], longest: int
) -> None:
    """Fill in the shares between samples and the unit categories of the layers whose units were seen.

    Args:
        columns: of the layers, with the moments of their outputs; changed in place.
        taps: in execution order.
        reader: of the step.
        windows: by tap, the recent past of its units; each takes in this step.
        longest: sampled steps that a window looks back on at most.
    """
    places: list[int] = []
    sums: list[Column] = []
    squares: list[float] = []
    samples: list[int] = []
    counts = columns[Quantity.COUNT]
    for i, tap in enumerate(taps):
        drained, row = reader.drained(tap.rows.accumulator), tap.rows.forward
        units = drained.units.get(row)
        if not units:
            continue
        places.append(i)
        samples.append(drained.samples[row])
        same = units if len(units) == 1 else [unit for unit in units if unit.sums.size == units[0].sums.size]
        sums.append(same[0].sums if len(same) == 1 else np.asarray(np.sum([unit.sums for unit in same], axis=0)))
        squares.append(same[0].squares if len(same) == 1 else float(sum(unit.squares for unit in same)))
        # An output without a single number says nothing about what its units do.
        if counts[i] > 0:
            _categories(columns, i, units, windows, tap.key, drained.positions[row], longest)
    if not places:
        return
    where = np.array(places, dtype=np.intp)
    energy = columns[Quantity.MEAN_SQUARE][where] * counts[where]
    measured = np.array(squares)
    columns[Quantity.POSITION_SHARE][where] = position_shares(
        columns[Quantity.MEAN_SQUARE][where],
        measured,
        np.array(samples),
        np.array([layer.size for layer in sums]),
        columns[Quantity.VARIANCE][where],
    )
    columns[Quantity.BETWEEN_SAMPLE_SHARE][where] = between_sample_shares(
        sums,
        # With one position per sample the mean signals are the elements themselves.
        np.where(np.isnan(measured), energy, measured),
        np.array(samples),
        columns[Quantity.VARIANCE][where],
    )


def _categories(  # noqa: PLR0913, PLR0917 - one layer of a table
    columns: Columns,
    i: int,
    units: Sequence[UnitReading],
    windows: dict[TapKey, UnitWindow],
    key: TapKey,
    positions: int,
    longest: int,
) -> None:
    signs = [(u.positive, u.nonpositive) for u in units if u.positive is not None and u.nonpositive is not None]
    if not signs:
        return
    window = windows.setdefault(key, UnitWindow(longest))
    window.add(_any([positive for positive, _ in signs]), _any([nonpositive for _, nonpositive in signs]), positions)
    categories = window.read()
    columns[Quantity.UNIT_COUNT][i] = categories.count
    columns[Quantity.UNIT_SAMPLES][i] = categories.samples
    columns[Quantity.DEAD_FRACTION][i] = categories.dead_fraction
    columns[Quantity.DEAD_AT_LEAST][i] = categories.dead_at_least
    columns[Quantity.ALL_POSITIVE_FRACTION][i] = categories.all_positive_fraction


def _any(flags: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    if len(flags) == 1:
        return flags[0]
    result: NDArray[np.bool_] = np.logical_or.reduce([f for f in flags if f.size == flags[0].size])
    return result
