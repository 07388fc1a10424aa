"""Facts that are worked out once: told apart by their arguments, and left behind by copies."""

from __future__ import annotations

import copy
import pickle

import numpy as np

from init_monitor.analysis.segments import MOST_POINTS, theil_sen
from init_monitor.records import Structure
from init_monitor.records.once import Keeping, once

asked: list[tuple[object, ...]] = []


class Network(Keeping):
    """Something of which facts are asked."""

    size = 3


@once
def scaled(network: Network, factor: float, *, beside: Network | None = None) -> float:
    """Return the size times a factor."""
    asked.append((network, factor, beside))
    return network.size * factor


def test_a_fact_is_made_once_for_each_combination_of_arguments() -> None:
    asked.clear()
    one, other = Network(), Network()
    assert [scaled(one, 2.0), scaled(one, 2.0), scaled(one, 3.0), scaled(other, 2.0)] == [6, 6, 9, 6]
    assert scaled(one, 2.0, beside=one) == scaled(one, 2.0, beside=other) == 6
    assert asked == [(one, 2.0, None), (one, 3.0, None), (other, 2.0, None), (one, 2.0, one), (one, 2.0, other)]


def test_a_copy_and_a_pickle_leave_what_was_made_behind() -> None:
    structure = Structure()
    assert structure.by_name() is structure.by_name()
    for twin in (copy.deepcopy(structure), pickle.loads(pickle.dumps(structure))):  # noqa: S301 - made here
        assert twin == structure
        assert list(vars(twin)) == ["layers", "residuals", "attentions"]


def test_a_slope_over_very_many_layers_is_that_of_layers_evenly_spread() -> None:
    x = np.arange(4.0 * MOST_POINTS)
    noise = np.random.default_rng(0).normal(scale=0.1, size=x.size)
    assert abs(theil_sen(x, 0.25 * x + noise) - 0.25) < 1e-4
