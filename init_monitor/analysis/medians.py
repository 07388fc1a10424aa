"""The median of a few numbers, many times per measured step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


_MANY = 1024
"""Numbers from which on they are not sorted all."""


def median(values: ArrayLike) -> float:
    """Return the median of numbers in one dimension: the same as :func:`numpy.median`, which takes ten times as long for a few.

    NaN if there is none, or if one of them is NaN.

    >>> median([3.0, 1.0, 2.0]), median([4.0, 1.0]), median([1.0, math.nan])
    (2.0, 2.5, nan)
    """
    given = np.asarray(values)
    upper = given.size // 2
    # A sort is quicker for a few; of thousands only the middle has to be in its place, and the end, where NaN is sorted to.
    ordered = np.sort(given) if given.size < _MANY else np.partition(given, (upper - 1, upper, given.size - 1))
    if not ordered.size or math.isnan(ordered[-1]):
        return math.nan
    if ordered.size % 2:
        return float(ordered[upper])
    # The mean of the two middle ones may overflow: it is then infinite. Python's floats do not warn of it.
    return (float(ordered[upper - 1]) + float(ordered[upper])) / 2
