"""A bounded memory of one quantity over layers (or residual blocks) and steps, for a picture at the end of a run of any length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from init_monitor.records import Column

MOST_COLUMNS = 600
"""Columns kept at most: about the pixels that the picture has for them."""


class Trace:
    """Keeps every step at first; when there are too many, every second, then every fourth, and so on.

    The first and the newest step are always there. Memory is at most 600 columns of float32.
    """

    def __init__(self, most_columns: int = MOST_COLUMNS) -> None:
        self._most_columns = most_columns
        self._stride = 1
        self._seen = 0
        self._kept: list[tuple[int, tuple[str, ...], NDArray[np.float32]]] = []

    def add(self, step: int, names: tuple[str, ...], values: Column) -> None:
        """Remember one step."""
        if self._kept and (self._seen - 1) % self._stride:
            # The newest so far fell between the strides: the next takes its place.
            self._kept.pop()
        self._kept.append((step, names, values.astype(np.float32)))
        if self._seen % self._stride == 0 and len(self._kept) > self._most_columns:
            self._kept = self._kept[::2]
            self._stride *= 2
        self._seen += 1

    def matrix(self) -> tuple[list[int], tuple[str, ...], NDArray[np.float64]]:
        """Return steps, layer names in newest order, and the values, shape [layers, steps]; NaN where not measured."""
        names = tuple(dict.fromkeys(name for _, seen, _ in reversed(self._kept) for name in seen))
        rows = {name: row for row, name in enumerate(names)}
        matrix = np.full((len(names), len(self._kept)), np.nan)
        for column, (_, seen, values) in enumerate(self._kept):
            matrix[[rows[name] for name in seen], column] = values
        return [step for step, _, _ in self._kept], names, matrix
