"""One quantity of one run as a matrix: a row per layer (parameter, residual addition), a column per sampled step. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]
    Steps = NDArray[np.int64]

FIRST_KEPT = 32
"""The first sampled steps that are always kept: initialisation shows there, and they are few."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One quantity over depth and time.

    Attributes:
        names: of the rows, in execution order.
        steps: optimizer step of each column, ascending.
        values: float32, shape [rows, columns]; NaN where not measured.
        sampled: columns there were before some were left out.
    """

    names: tuple[str, ...]
    steps: Steps
    values: Matrix
    sampled: int


def merged_names(lists: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Return every name once, in an order that respects each list where they agree.

    A name that an earlier list does not have is put after the one it follows in its own list.

    >>> merged_names([("a", "b", "d"), ("a", "c", "d"), ("d", "e")])
    ('a', 'c', 'b', 'd', 'e')
    """
    merged: list[str] = []
    known: set[str] = set()
    for names in lists:
        if not known:
            merged = list(dict.fromkeys(names))
            known = set(merged)
            continue
        new = [name for name in names if name not in known]
        if not new:
            continue
        followers: dict[str | None, list[str]] = {}
        before: str | None = None
        for name in names:
            if name in known:
                before = name
            else:
                followers.setdefault(before, []).append(name)
        known.update(new)
        merged = [
            *dict.fromkeys(followers.get(None, ())),
            *(one for name in merged for one in (name, *dict.fromkeys(followers.get(name, ())))),
        ]
    return tuple(merged)


def assembled(points: Iterable[tuple[int, Sequence[str], Matrix]]) -> Series:
    """Merge vectors; of several for one step the last counts.

    Args:
        points: step, names and numbers (aligned with the names) of each vector, in the order they were written.
    """
    by_step: dict[int, tuple[Sequence[str], Matrix]] = {int(step): (names, vector) for step, names, vector in points}
    steps = sorted(by_step)
    # By identity: thousands of vectors share one list of hundreds of names, which must not be hashed for each.
    lists = {id(names): names for names in (by_step[step][0] for step in steps)}
    names = merged_names(lists.values())
    position = {name: i for i, name in enumerate(names)}
    rows = {key: np.array([position[name] for name in one], dtype=np.intp) for key, one in lists.items()}
    values = np.full((len(steps), len(names)), np.nan, dtype=np.float32)
    for column, step in enumerate(steps):
        own, vector = by_step[step]
        values[column, rows[id(own)]] = vector
    return Series(names, np.array(steps, dtype=np.int64), np.ascontiguousarray(values.T), len(steps))


def thinned(series: Series, columns: int, keep: Collection[int] = (), *, worst: bool = False) -> Series:
    """Leave out columns until at most ``columns`` are left; those that stay are real steps, never means of several.

    Kept are the first :data:`FIRST_KEPT`, the last, those of ``keep`` (as far as half of the room goes), and of the
    others as many as fit, evenly spread.

    Args:
        series: to make narrower.
        columns: most columns to return, at least 1.
        keep: steps that matter, for instance those of findings.
        worst: each column that stays gets the largest number since the one before it, so that a count of non-finite
            elements in between is not lost.
    """
    count = len(series.steps)
    if count <= columns:
        return series
    chosen = {count - 1}
    wanted = np.flatnonzero(np.isin(series.steps, np.array(sorted(keep), dtype=np.int64)))
    for column in (*range(FIRST_KEPT), *wanted.tolist()):
        if len(chosen) > columns // 2:
            break
        chosen.add(column)
    room = columns - len(chosen)
    if room > 0:
        others = np.array([column for column in range(count) if column not in chosen], dtype=np.intp)
        chosen.update(others[np.linspace(0, len(others) - 1, room).round().astype(np.intp)].tolist())
    index = np.array(sorted(chosen), dtype=np.intp)
    values = series.values[:, index]
    if worst:
        starts = np.concatenate(([0], index[:-1] + 1))
        values = np.fmax.reduceat(series.values, starts, axis=1)
    return Series(series.names, series.steps[index], np.ascontiguousarray(values), series.sampled)
