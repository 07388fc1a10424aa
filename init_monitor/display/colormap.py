"""One colour map: even steps of perceived lightness from dark violet to pale yellow.

Its anchors lie on a path in the OKLab colour space: lightness rises in equal steps, so equal differences look equal,
also in grey print and for every kind of colour blindness; the hue changes along with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ANCHORS: tuple[tuple[int, int, int], ...] = (
    (36, 14, 83),
    (31, 41, 111),
    (0, 69, 131),
    (3, 96, 133),
    (1, 121, 142),
    (1, 146, 150),
    (3, 173, 151),
    (82, 196, 143),
    (145, 213, 138),
    (200, 229, 139),
    (250, 243, 150),
)
"""sRGB colours from low to high; OKLab lightness 0.25, 0.32, …, 0.95."""

_POSITIONS = np.linspace(0.0, 1.0, len(ANCHORS))
_CHANNELS = np.asarray(ANCHORS, dtype=np.float64).T


def colours(shares: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the colours of positions on the map.

    Args:
        shares: any shape, from 0 (lowest) to 1 (highest); beyond is clipped, NaN is not allowed.

    Returns:
        sRGB bytes, one more dimension of size 3.

    >>> colours(np.array([0.0, 1.0])).tolist()
    [[36, 14, 83], [250, 243, 150]]
    """
    channels = [np.interp(shares, _POSITIONS, channel) for channel in _CHANNELS]
    mapped: NDArray[np.uint8] = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return mapped
