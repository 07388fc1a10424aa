"""Whether a sequence of numbers rises: several rules say nothing about what is still growing, or warming up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from init_monitor.records import Column

RISING_PAIRS = 0.75
"""Share of pairs of records in which the later value is the larger one, from which a sequence rises. Noise gives 0.5 with a
standard deviation of 0.11 for twelve records (Kendall 1938); what grows gives 1, however slowly."""


def rising_share(values: Column) -> float:
    """Return the share of pairs in which the later value is the larger one.

    >>> rising_share(np.array([1.0, 2.0, 3.0])), rising_share(np.zeros(3))
    (1.0, 0.0)
    """
    earlier, later = np.triu_indices(len(values), k=1)
    return float(np.mean(values[later] > values[earlier])) if earlier.size else 0.0
