"""Which half of the benchmark an architecture belongs to."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Half(str, Enum):
    """Thresholds may be chosen on the tuning half only; both are reported."""

    TUNING = "tuning"
    VALIDATION = "validation"

    def __str__(self) -> str:
        """Return the word itself."""
        return self.value


def halves(architectures: Iterable[str]) -> dict[str, Half]:
    """Return the half of each architecture: of the names in alphabetical order the 1st, 3rd, 5th … are for tuning.

    >>> {name: str(half) for name, half in halves(["mlp", "cnn", "vgg", "mlp"]).items()}
    {'cnn': 'tuning', 'mlp': 'validation', 'vgg': 'tuning'}
    """
    order = sorted(set(architectures))
    return {name: Half.VALIDATION if position % 2 else Half.TUNING for position, name in enumerate(order)}
