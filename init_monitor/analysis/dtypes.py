"""Number formats: the largest and smallest numbers that each can hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Format:
    """The range of a floating-point format (IEEE 754-2019; bfloat16 has the exponent of binary32).

    Attributes:
        name: as in torch, without ``torch.``.
        largest: largest finite number.
        smallest_normal: smallest positive number with full precision; below it digits are lost.
        spacing: of the numbers just above 1; what is added to 1 and is less than half of it is rounded away.
    """

    name: str
    largest: float
    smallest_normal: float
    spacing: float

    @property
    def smallest(self) -> float:
        """Smallest positive number, with one digit left; what is smaller than half of it becomes 0."""
        return self.smallest_normal * self.spacing


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "float16": Format("float16", 65504.0, 2.0**-14, 2.0**-10),
        "bfloat16": Format("bfloat16", (2 - 2.0**-7) * 2.0**127, 2.0**-126, 2.0**-7),
        "float32": Format("float32", (2 - 2.0**-23) * 2.0**127, 2.0**-126, 2.0**-23),
        "float64": Format("float64", (2 - 2.0**-52) * 2.0**1023, 2.0**-1022, 2.0**-52),
    }
)
"""Formats by name. Other formats (the 8-bit ones) never hold an activation outside a fused kernel."""


def format_of(dtype: str) -> Format:
    """Return the format called ``dtype`` (``"float16"`` or ``"torch.float16"``); float32 for an unknown one.

    >>> format_of("torch.float16").largest
    65504.0
    """
    return FORMATS.get(dtype.removeprefix("torch."), FORMATS["float32"])


def layers_until(value: float, limit: float, growth: float) -> float:
    """Return after how many more layers ``value`` passes ``limit`` if its *variance* changes ``growth``-fold per layer.

    Args:
        value: a magnitude (an rms or an absolute maximum), positive.
        limit: the magnitude it may not pass, positive.
        growth: variance factor per layer; the magnitude changes by its square root.

    Returns:
        Whole layers, 0 if it is there already, infinite if the signal moves away from the limit or stays.

    >>> layers_until(1.0, 65504.0, 4.0), layers_until(1.0, 65504.0, 0.5)
    (16.0, inf)
    """
    if not (0 < value < math.inf and limit > 0 and 0 < growth < math.inf):
        return math.inf
    distance, pace = math.log(limit) - math.log(value), 0.5 * math.log(growth)
    if distance == 0:
        return 0.0
    return float(math.ceil(distance / pace)) if pace != 0 and (distance > 0) == (pace > 0) else math.inf
