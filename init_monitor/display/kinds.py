"""Many layers in few rows: those whose names differ only in a number share a row. Pure.

A network is folded no further than necessary: single layers; blocks of one list (``blocks.3.fc1`` →
``blocks.0…11.fc1``); numbers within words (``conv1``, ``layer2``); kinds under each of the network's parts; kinds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from init_monitor.display.formatting import common_start

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_INDEX = re.compile(r"(?<=[.#@\[])\d+|^\d+(?=[./#@\[]|$)")
"""A number that is a whole part of a path, or of a call."""
_NUMBER = re.compile(r"\d+")
_FIRST = "#1"

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fold:
    """Layers that share a row.

    Attributes:
        label: their name, with the range of what differs in it.
        kind: what they are; empty for several kinds.
        rows: which ones, in execution order.
    """

    label: str
    kind: str
    rows: tuple[int, ...]


def folds(names: Sequence[str], kinds: Sequence[str], most: int, dots: str = "…") -> list[Fold]:
    """Return the layers in at most ``most`` rows, in order of their first.

    Args:
        names: in execution order.
        kinds: of each.
        most: rows, at least 1.
        dots: between the two ends of a range.

    >>> [fold.label for fold in folds(["stem", "b.0.fc", "b.0.act", "b.1.fc", "b.1.act"], ["x"] * 5, 3)]
    ['stem', 'b.0…1.fc', 'b.0…1.act']
    """
    if len(names) <= most:
        return [Fold(name, kind, (i,)) for i, (name, kind) in enumerate(zip(names, kinds, strict=True))]
    groups: dict[Key, list[int]] = {}
    for key_of in _LEVELS:
        groups = {}
        for i, (name, kind) in enumerate(zip(names, kinds, strict=True)):
            groups.setdefault(key_of(name, kind), []).append(i)
        if len(groups) <= most:
            break
    chosen = sorted(groups.values(), key=len, reverse=True)
    rest = sorted(i for group in chosen[most - 1 :] for i in group) if len(chosen) > most else []
    kept = chosen[: most - 1] if rest else chosen
    made = [_fold(names, kinds, tuple(group), dots) for group in kept]
    if rest:
        made.append(Fold(f"{len(rest)} layers of other kinds", "", tuple(rest)))
    return sorted(made, key=lambda fold: fold.rows[0])


_LEVELS: tuple[Callable[[str, str], Key], ...] = (
    lambda name, kind: (_INDEX.sub("*", name), kind),
    lambda name, kind: (_NUMBER.sub("*", name), kind),
    lambda name, kind: (_NUMBER.sub("*", name.split(".", 1)[0]), kind),
    lambda _, kind: (kind,),
)


def _fold(names: Sequence[str], kinds: Sequence[str], rows: tuple[int, ...], dots: str) -> Fold:
    own = [names[i] for i in rows]
    return Fold(_label(own, dots), kinds[rows[0]], rows)


def _label(names: Sequence[str], dots: str) -> str:
    """Return one name for several: with the range of each number, or what they begin with."""
    if len(names) == 1:
        return names[0]
    parts = [_NUMBER.split(name) for name in names]
    if any(words != parts[0] for words in parts):
        start = common_start(names)
        return f"{start}{dots}" if start else ""
    columns = zip(*(map(int, _NUMBER.findall(name)) for name in names), strict=True)
    ranges = [str(low) if (low := min(column)) == (high := max(column)) else f"{low}{dots}{high}" for column in columns]
    return "".join(word + number for word, number in zip(parts[0], [*ranges, ""], strict=True))


def without_first(fold: Fold) -> Fold:
    """Return a fold whose label does not say that each is the first call or addition of its module: most are.

    >>> without_first(Fold("blocks.0…11#1", "sum", (0, 1))).label
    'blocks.0…11'
    """
    return Fold(fold.label.removesuffix(_FIRST), fold.kind, fold.rows)
