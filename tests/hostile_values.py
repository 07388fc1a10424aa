"""Values that no field expects, and ways to put one into the place of another in what was stored."""

from __future__ import annotations

import copy
import json
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

EVIL = "evil\x1b[2J\x00\u202e\u2066\x9b\n\ud800<script>alert(1)</script>|`x`"
"""What a terminal obeys, what turns a line around, what is no character, what a page would run."""


def obeyed(text: str) -> set[str]:
    """Characters that a terminal or a browser would act on, or that no file can hold."""
    return {one for one in text if unicodedata.category(one) in {"Cc", "Cf", "Cs"} and one != "\n"}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, whole lines first."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield from places(one, (*path, key))


def replaced(entries: list[dict[str, Any]], path: tuple[Any, ...], value: Any) -> list[Any]:
    changed: Any = copy.deepcopy(entries)
    inside = changed
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return list(changed)


class Raw:
    """A piece of JSON that json.dumps would not write."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Raw({self.text[:20]!r}, {len(self.text)})"


def dumped(entry: Any) -> str:
    raw: list[str] = []

    def kept(value: Any) -> str:
        raw.append(value.text)
        return f"\x01{len(raw) - 1}\x01"

    text = json.dumps(entry, default=kept)
    for i, one in enumerate(raw):
        text = text.replace(f'"\\u0001{i}\\u0001"', one)
    return text


def nested(depth: int, opening: str, middle: str, closing: str) -> Raw:
    return Raw(opening * depth + middle + closing * depth)


VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 2**53, 2**63, 2**70, 10**400, -(2**70), 1e300, -1e300, 5e-324,
    "", "x", "NaN", "Infinity", "-Infinity", "1e5", "x" * 3000, EVIL, EVIL * 300, "a." * 3000, "a b " * 2500, "\ud800",
    [], {}, [[]], [None], [1, "a", {}], {"a": 1}, {"value": 1, "unit": "x" * 3000}, {EVIL: {"value": 1, "unit": EVIL}},
    Raw("1e999"), Raw("-1e999"), Raw("NaN"), Raw("Infinity"), Raw("9" * 5000), Raw("0.5e-99999"), Raw("{,}"), Raw("-"),
    nested(20, "[", "", "]"), nested(900, "[", "1", "]"), nested(20_000, "[", "", "]"), nested(200_000, "[", "", "]"),
    nested(900, '{"a":', "1", "}"), nested(200_000, '{"a":', "1", "}"), nested(100_000, "[", "", ""),
)  # fmt: skip
