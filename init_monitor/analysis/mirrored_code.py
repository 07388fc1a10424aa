"""Mirrored pairs as code: the call of the recipe, and for a plan, whose code needs torch alone, a function that does the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

FUNCTION = """def mirrored(weight, first=False, slope=0.0, generator=None):
    # Units in pairs of opposite sign, f(u) and f(-u), of which the next layer takes the difference.
    nn.init.kaiming_normal_(weight, generator=generator)  # what stays of this is the last unit of an odd number
    weight, rows, columns = weight.data, len(weight) // 2, weight.shape[1] // 2
    part = weight[:rows] if first else weight[:rows, :columns]
    centre = part if first else part.zero_()[(..., *(size // 2 for size in part.shape[2:]))]
    square = max(1, rows / max(1, centre[:1].numel()))
    gain = (2 * square / (1 + slope**2)) ** 0.5 if first else square**0.5 / (1 + slope)
    nn.init.orthogonal_(centre, gain, generator)
    if not first:
        weight[:rows, columns : 2 * columns] = -part
    weight[rows : 2 * rows] = -weight[:rows]"""


def call(options: Mapping[str, object], name: str = "mirrored") -> str:
    """Return the line that draws one weight, with ``{0}`` for it.

    >>> call({}), call({"first": True, "slope": 0.01})
    ('mirrored({0})', 'mirrored({0}, first=True, slope=0.01)')
    """
    slope = cast("float", options.get("slope", 0.0))
    return f"{name}({{0}}{', first=True' if options.get('first') else ''}{f', slope={slope:g}' if slope else ''})"
