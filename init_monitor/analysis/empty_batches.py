"""Steps without any gradient in a run that learns by the other ones: batches without an object, a triplet or a margin that is broken."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import StepRecord

CHANCE = 0.01
"""Chance at which as many steps without a gradient in a row are taken for what single batches do."""

FORGOTTEN = 0.25
"""Part of an update that momentum has left over after some steps without a gradient, at most, for the next update to say more."""

KEPT = 0.5
"""Part of it from which an update was fed in between: twice what momentum alone can leave over."""


def only_some_batches(records: Sequence[StepRecord], resting: Sequence[StepRecord], rests: Sequence[bool]) -> bool:
    """Say whether steps without a gradient are those of single batches, and the run goes on between them.

    That is so where such steps were as frequent before, or where the weights have moved between the latest two of them by more than what
    momentum and weight decay have left over.

    Args:
        records: all, oldest first.
        resting: the latest, none of which has a gradient; in any order.
        rests: of each record, whether it has none.
    """
    before = rests[: len(records) - len(resting)]
    share = sum(before) / len(before) if before else 0.0
    by_chance = share > 0 and share ** len(resting) > CHANCE
    ordered = sorted(resting, key=lambda record: record.step)
    # The newest pair with steps in between says how it is now.
    apart = [(a, b) for a, b in pairwise(ordered) if b.step - a.step > 1]
    return by_chance or (bool(apart) and _fed_between(*apart[-1]))


def _fed_between(a: StepRecord, b: StepRecord) -> bool:
    """Say whether the weights got a gradient between two steps that had none themselves."""
    if a.parameter_names != b.parameter_names:
        return False
    first, second = (record.column(Quantity.UPDATE_RATIO) for record in (a, b))
    known = np.isfinite(first) & np.isfinite(second)
    if not known.any():
        return False
    if not (first[known].any() or second[known].any()):
        # Plain gradient descent: what has no gradient stays the same number.
        norms = [record.column(Quantity.WEIGHT_NORM)[known] for record in (a, b)]
        return bool((np.isfinite(norms[0]) & (norms[0] != norms[1])).any())
    decayed = 2 * b.learning_rate * b.weight_decay
    if not b.momentum ** (b.step - a.step) <= FORGOTTEN or not decayed >= 0:
        return False
    return bool(np.median(second[known]) > max(decayed, KEPT * float(np.median(first[known]))))
