"""Coordinate checks in event files: each is checked before the page draws it, and what does not fit is refused in a sentence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from init_monitor.records.quoting import printable
from init_monitor.store import schema

if TYPE_CHECKING:
    from collections.abc import Mapping

SIZES = ("start", "change", "own")
"""What the page shows of a layer: its size before the first step, what a step changes, and its own part of that."""


def width_check(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a check as the page draws it, every name printable.

    Args:
        content: what :meth:`init_monitor.CoordinateCheck.save` wrote.

    Raises:
        MalformedError: it did not write that.
    """
    widths = [schema.whole(one, "a width") for one in schema.items(content.get("widths"), "widths")]
    tolerance = schema.number(content.get("tolerance"), "tolerance")
    return {
        "verdict": _text(content, "verdict"),
        "optimizer": _text(content, "optimizer"),
        "widths": widths,
        **{name: schema.whole(content.get(name), name) for name in ("steps", "seeds")},
        "layers": [
            _layer(schema.mapping(one, "a layer"), len(widths), tolerance)
            for one in schema.items(content.get("layers"), "layers")
        ],
    }


def _layer(content: Mapping[str, Any], widths: int, tolerance: float) -> dict[str, Any]:
    return {
        **{name: _text(content, name) for name in ("layer", "kind", "verdict")},
        "off": schema.flag(content.get("off"), "off"),
        **{name: _size(schema.mapping(content.get(name), name), widths, tolerance) for name in SIZES},
    }


def _size(content: Mapping[str, Any], widths: int, tolerance: float) -> dict[str, Any]:
    slope, error = (schema.number(content.get(name), name) for name in ("slope", "error"))
    values = [schema.number(one, "a value") for one in schema.items(content.get("values"), "values")]
    if len(values) != widths:
        message = f"a layer has {len(values)} values, expected one for each of {widths} widths"
        raise schema.MalformedError(message)
    doubt = 0.0 if math.isnan(error) else 2 * error
    return {
        "slope": _number(slope),
        "error": _number(error),
        "values": [_number(one) for one in values],
        # As analysis.width_growth.Growth.is_off.
        "off": abs(slope) > max(tolerance, doubt),
    }


def _text(content: Mapping[str, Any], name: str) -> str:
    return printable(schema.text(content.get(name), name))


def _number(value: float) -> float | None:
    """Return a number as JSON holds it, ``None`` where it is not finite."""
    return value if math.isfinite(value) else None
