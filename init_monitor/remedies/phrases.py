"""How findings write numbers and names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.records.numbers import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["STEPWISE", "at_least_in", "change", "count", "names", "number", "part", "percent", "times"]

FEW = 3
"""Up to this many names are listed in a sentence; more are given as a range."""

STEPWISE = (
    "round, sign, argmax and comparisons have a slope of 0: let the gradient pass by them, as if they were not there"
    " (x + (torch.round(x) - x).detach(), a straight-through estimate)."
)
"""What to do where a function in steps cuts the gradient off."""

WORTH_SAYING = 3.0
"""A limit that is this many times the current depth away is given only as evidence: it is of no practical use."""


def times(factor: float) -> str:
    """Return a factor in words.

    >>> times(512.0), times(0.5)
    ('512×', '0.5×')
    """
    return f"{number(factor)}×"


def part(share: float) -> str:
    """Return a factor as it stands before a noun.

    >>> part(0.02), part(309000.0)
    ('0.02 of', '309,000 times')
    """
    return f"{number(share)} of" if share < 1 else f"{number(share)} times"


def change(factor: float) -> str:
    """Return a change in words.

    >>> change(512.0), change(1 / 1024)
    ('grows 512×', 'shrinks to 1/1,020')
    """
    if factor >= 1:
        return f"grows {times(factor)}"
    return f"shrinks to 1/{number(1 / factor)}" if factor > 0 else "shrinks to 0"


def percent(share: float) -> str:
    """Return a share in percent, without rounding a part up to the whole.

    >>> percent(0.4), percent(0.965), percent(0.9999)
    ('40 %', '96.5 %', '99.9 %')
    """
    floored = int(share * 1000 + 1e-6) / 10
    return f"{floored:g} %"


def count(n: float, noun: str) -> str:
    """Return a count with its noun.

    >>> count(1, "layer"), count(10, "layer")
    ('1 layer', '10 layers')
    """
    return f"{n:,.0f} {noun}" if n == 1 else f"{n:,.0f} {noun}s"


def names(layers: Sequence[str]) -> str:
    """Return layer names for a sentence.

    >>> names(["net.0"]), names(["net.0", "net.2"]), names([f"net.{i}" for i in range(9)])
    ('net.0', 'net.0 and net.2', 'net.0 … net.8 (9 layers)')
    """
    if len(layers) > FEW:
        return f"{layers[0]} … {layers[-1]} ({len(layers)} layers)"
    return " and ".join(filter(None, (", ".join(layers[:-1]), *layers[-1:])))


def at_least_in(shares: Mapping[str, float]) -> str:
    """Return the sentence that says how large a share is in each of several layers.

    >>> at_least_in({"a": 0.5, "b": 0.75})
    ' In a and b it is at least 50 %.'
    """
    return f" In {names(list(shares))} it is at least {percent(min(shares.values()))}."
