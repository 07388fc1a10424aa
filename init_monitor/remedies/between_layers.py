"""What to say and do about a factor between two layers: a number in the forward, a dropout that keeps little, an average."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from init_monitor.remedies import phrases

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.analysis.between_layers import Passage

ABOUT = 0.8
"""Part of the strongest factor, in logarithm, from which another is about as strong."""

MOST_BY_DROPOUT = 1000.0
"""Factor beyond which it is no dropout: one of 0.999 keeps a unit or none of most layers."""


def told(found: Mapping[int, Passage]) -> str:
    """Return the sentences that name the place where most happens, what could do that, and how many more there are."""
    passage = _strongest(found)
    if passage.exponent:
        return (
            f"What {passage.layer.name} receives is as large as an exponential of what {passage.exponent} gives, and"
            f" multiplies the signal's mean square by {phrases.number(passage.factor)}."
        )
    more = f" The same happens in {phrases.count(len(found) - 1, 'other place')}." if len(found) > 1 else ""
    return (
        f"No layer is off: between {phrases.names(passage.before)} and {passage.layer.name} something multiplies the signal's mean square"
        f" by {phrases.number(passage.factor)}: {could_be(passage.factor)} would do that.{more}"
    )


def remedy(found: Mapping[int, Passage]) -> str:
    """Return what to do about them."""
    passage = _strongest(found)
    if passage.exponent:
        return (
            f"Bound what goes into the exponential: clamp the output of {passage.exponent} (a log variance to -10 … 10), or start its weights"
            " at 0; or take softplus in place of exp."
        )
    place = f"between {phrases.names(passage.before)} and {passage.layer.name}"
    if 1 < passage.factor <= MOST_BY_DROPOUT:
        return (
            f"Look at what the forward does {place}: take the factor away, or put a normalisation there. A dropout takes the share"
            " to drop, not the share to keep (0.1 to 0.5 is usual)."
        )
    return (
        f"Look at what the forward does {place}: take the factor away, or put a normalisation there. A softmax over the wrong dimension"
        " makes an average over all of it; a mean over padding counts places that hold nothing: divide by how many are filled."
    )


def could_be(factor: float) -> str:
    """Return what would multiply a mean square by so much.

    >>> could_be(100.0)
    'a factor of 10, or a dropout of 0.99,'
    """
    root = phrases.number(math.sqrt(factor))
    if factor > MOST_BY_DROPOUT:
        return f"a factor of {root}"
    if factor > 1:
        return f"a factor of {root}, or a dropout of {phrases.number(1 - 1 / factor)},"
    return f"a factor of {root}, or an average over {phrases.number(1 / factor)} independent numbers,"


def _strongest(found: Mapping[int, Passage]) -> Passage:
    """Return the first of those that are about as strong as the strongest."""
    most = max(abs(math.log(one.factor)) for one in found.values())
    return next(one for one in found.values() if abs(math.log(one.factor)) >= ABOUT * most)
