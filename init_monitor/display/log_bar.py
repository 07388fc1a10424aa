"""A bar on a logarithmic scale shared by all rows: growth over depth is visible before any number is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BAR_WIDTH = 13
"""Characters: a centre and six on each side; the widest that leaves room for the numbers in 100 columns."""

_LEAST_DECADES = 1
"""The scale covers at least this many powers of ten on both sides of 1, so that an even network looks even."""


@dataclass(frozen=True, slots=True)
class Marks:
    """The characters of a bar."""

    neutral: str
    full: str
    half_left: str
    half_right: str
    beyond_left: str
    beyond_right: str
    levels: str


UNICODE_MARKS = Marks("│", "█", "▐", "▌", "◀", "▶", "▁▂▃▄▅▆▇█")
ASCII_MARKS = Marks("|", "#", "", "", "<", ">", ".:-=+*#@")


@dataclass(frozen=True, slots=True)
class LogScale:
    """Powers of ten that the bars reach to, left and right of the mark at 1.

    >>> scale = LogScale.over([1.0, 1e-6, 1e3])
    >>> scale
    LogScale(low=-6, high=3)
    >>> for value in (1e-6, 1.0, 1e3):
    ...     print(scale.bar(value, ASCII_MARKS))
    ########|
            |
            |####
    """

    low: int
    high: int

    @classmethod
    def over(cls, values: Iterable[float]) -> LogScale:
        """Return the scale that holds every positive finite value."""
        decades = [math.log10(value) for value in values if 0 < value < math.inf]
        return cls(
            min(-_LEAST_DECADES, math.floor(min(decades, default=0.0))),
            max(_LEAST_DECADES, math.ceil(max(decades, default=0.0))),
        )

    @property
    def neutral(self) -> int:
        """Cell of the mark at 1; there is always one to each side of it."""
        share = -self.low / (self.high - self.low)
        return min(max(round(share * (BAR_WIDTH - 1)), 1), BAR_WIDTH - 2)

    def bar(self, value: float, marks: Marks = UNICODE_MARKS) -> str:
        """Return the bar of one value, from the mark at 1 to the value; zero and infinity end in an arrow.

        Args:
            value: 0 or more; NaN gives an empty bar.
            marks: characters to draw with.
        """
        if math.isnan(value) or value < 0:
            return ""
        decade = _decade(value)
        left, right = self.neutral, BAR_WIDTH - 1 - self.neutral
        if decade < 0:
            cells = _cells(decade / self.low, left, marks.full, marks.half_left)[::-1]
            if decade == -math.inf:
                cells = marks.beyond_left + cells[1:]
            return cells.rjust(left) + marks.neutral
        cells = _cells(decade / self.high, right, marks.full, marks.half_right)
        if decade == math.inf:
            cells = cells[:-1] + marks.beyond_right
        return " " * left + marks.neutral + cells

    def header(self) -> str:
        """Return the labels of the two ends of the bars, padded to their width."""
        low, high = f"1e{self.low}", f"1e{self.high}"
        return low + high.rjust(BAR_WIDTH - len(low))


def course(values: Sequence[float], scale: LogScale, marks: Marks = UNICODE_MARKS) -> str:
    """Return how several values go on, first to last: a character each, as high (in ASCII, as dark) as the value is large.

    Of more values than the bar is wide, the one farthest from 1 stands for its neighbours; NaN leaves a gap.

    >>> course([1e-3, 1e-2, 1e-1, 1.0, 10.0], LogScale(-3, 1)), course([1e-3, 10.0], LogScale(-3, 1), ASCII_MARKS)
    ('▁▃▅▆█', '.@')
    """
    parts = min(len(values), BAR_WIDTH)
    edges = [round(i * len(values) / parts) for i in range(parts + 1)]
    return "".join(_level(values[start:end], scale, marks.levels) for start, end in pairwise(edges))


def _level(values: Sequence[float], scale: LogScale, levels: str) -> str:
    known = [_decade(value) for value in values if value >= 0]
    if not known:
        return " "
    share = (max(known, key=abs) - scale.low) / (scale.high - scale.low)
    return levels[round(min(max(share, 0.0), 1.0) * (len(levels) - 1))]


def _decade(value: float) -> float:
    return math.log10(value) if 0 < value < math.inf else math.copysign(math.inf, value - 1)


def _cells(share: float, room: int, full: str, half: str) -> str:
    if not half:
        return full * round(min(share, 1.0) * room)
    halves = round(min(share, 1.0) * room * 2)
    return full * (halves // 2) + half * (halves % 2)
