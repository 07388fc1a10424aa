"""The median of a few numbers, many times per measured step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def median(values: ArrayLike) -> float:
    """Return the median of numbers in one dimension: the same as :func:`numpy.median`, which takes ten times as long for a few.

    NaN if there is none, or if one of them is NaN.

    >>> median([3.0, 1.0, 2.0]), median([4.0, 1.0]), median([1.0, math.nan])
    (2.0, 2.5, nan)
    """
    ordered = np.sort(np.asarray(values))
    if not ordered.size or math.isnan(ordered[-1]):  # NaN is sorted to the end
        return math.nan
    upper = ordered.size // 2
    if ordered.size % 2:
        return float(ordered[upper])
    # The mean of the two middle ones may overflow: it is then infinite. Python's floats do not warn of it.
    return (float(ordered[upper - 1]) + float(ordered[upper])) / 2
