"""Which rows of a deep network are shown, and which are folded into one line. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Set as AbstractSet

MOST_ROWS = 40
"""Lines of a table at most: about a screen."""

_EDGE_ROWS = 6
"""Rows always shown at both ends: what enters and what leaves the network."""


def folded(count: int, blamed: Sequence[AbstractSet[int]]) -> Iterator[range]:
    """Return runs of rows in order: a run of one is shown, a longer one is folded into a line.

    Args:
        count: rows there are.
        blamed: the rows of each group at fault, most important group first; of groups that are too large the first
            and the last row are shown, as long as there is room.

    >>> [run if len(run) > 1 else run[0] for run in folded(100, [{50}])][5:10]
    [5, range(6, 50), 50, range(51, 94), 94]
    """
    yield from _runs(count, _chosen(count, blamed))


def _runs(count: int, chosen: AbstractSet[int]) -> Iterator[range]:
    start = 0
    for row in [*sorted(chosen), count]:
        if row > start:
            yield range(start, row)
        if row < count:
            yield range(row, row + 1)
        start = row + 1


def _chosen(count: int, blamed: Sequence[AbstractSet[int]]) -> set[int]:
    if count <= MOST_ROWS:
        return set(range(count))

    def fits(rows: set[int]) -> bool:
        return sum(1 for _ in _runs(count, rows)) <= MOST_ROWS

    edges = {*range(_EDGE_ROWS), *range(count - _EDGE_ROWS, count)}
    everyone = edges.union(*blamed)
    if fits(everyone):
        return everyone
    for group in blamed:
        wider = edges | ({min(group), max(group)} if group else set())
        if not fits(wider):
            break
        edges = wider
    return edges
