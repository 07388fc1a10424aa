"""Modules of a list of which the input chooses some (experts): which of them were never chosen, and not by chance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from init_monitor.records import StepRecord

FEWEST = 2
"""Modules never chosen from which it is told: one may be what a rare input needs."""

BY_CHANCE = 0.01
"""Probability up to which so many are not never chosen by chance."""


def never_chosen(silent: Iterable[str], records: Sequence[StepRecord]) -> frozenset[str]:
    """Return those of the ``silent`` parameters whose module was never chosen, though others of its list were, now these, now those.

    Had each record chosen as many modules of the list as it did, k of m, but at random, then m · Π(1 - k/m) of them would be
    never chosen on average, E; and n of them with a probability of at most Eⁿ/n!, the first term of Poisson's.

    Args:
        silent: names of parameters without a gradient in any of the records.
        records: with the same parameters.
    """
    names = records[-1].parameter_names
    if any(record.parameter_names != names for record in records):
        return frozenset()
    ran = np.array([_ran(record) for record in records])
    where = {name: i for i, name in enumerate(names)}
    lists = {key for name in silent if name in where for key in _lists_of(name)}
    return frozenset(name for key in lists for name in _idle(key, names, ran)) & frozenset(silent)


def _ran(record: StepRecord) -> NDArray[np.bool_]:
    """Return which parameters had a gradient; one that moved by an unmeasured (sparse) gradient had one."""
    norms, moved = record.column(Quantity.WEIGHT_GRADIENT_NORM), record.column(Quantity.UPDATE_RATIO)
    return np.asarray(~np.isnan(norms) | (moved > 0))


def _lists_of(name: str) -> Iterator[tuple[str, str]]:
    """Yield what stands around each number in a path: the list that the module is in, and the parameter within the module.

    >>> list(_lists_of("experts.3.0.weight"))
    [('experts', '0.weight'), ('experts.3', 'weight')]
    """
    parts = name.split(".")
    for i, part in enumerate(parts):
        if part.isdigit():
            yield ".".join(parts[:i]), ".".join(parts[i + 1 :])


def _idle(key: tuple[str, str], names: Sequence[str], ran: NDArray[np.bool_]) -> list[str]:
    """Return the parameters of one list's modules that were never chosen, if that is not by chance."""
    columns = [i for i, name in enumerate(names) if key in _lists_of(name)]
    chosen = ran[:, columns]
    if (chosen == chosen[0]).all():
        return []  # always the same ones: heads of other tasks, blocks that are left out
    members, idle = len(columns), ~chosen.any(axis=0)
    expected = members * float(np.prod(1 - chosen.sum(axis=1) / members))
    count = int(idle.sum())
    if count < FEWEST or expected**count / math.factorial(count) > BY_CHANCE:
        return []
    return [names[columns[i]] for i in np.flatnonzero(idle)]
