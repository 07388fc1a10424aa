"""What the growth of a layer with the width means, and what it needs. Pure.

A layer is told what is its own: growth that its input brings is said to come from there. The needs are measured exponents; that
they are what the maximal update parametrisation prescribes (Yang et al. 2022, table 3: with Adam, the rates of hidden and
output weights fall as 1/fan_in and the output starts 1/sqrt(fan_in) smaller) is what the tests show.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.analysis.width_growth import Growth, LayerGrowth

TOLERANCE = 0.1
"""A slope below this is flat: over widths 64 to 512 it makes a factor of 1.23, which is what fits from three seeds leave open."""


NAMED_WITHIN = 0.15
"""A fitted power this near to one that theory has is called by its name: a few steps at real widths leave the limit by as much."""


class _Said(NamedTuple):
    words: str
    is_fault: bool = True


def verdict(layer: LayerGrowth, tolerance: float = TOLERANCE) -> str:
    """Say in a sentence how a layer goes with the width and what it needs.

    Args:
        layer: what was fitted.
        tolerance: slopes of at most this are flat.
    """
    return "; ".join(said.words for said in _said(layer, tolerance)) or "does not depend on the width"


def depends(layer: LayerGrowth, tolerance: float = TOLERANCE) -> bool:
    """Say whether something about a layer depends on the width that should not."""
    return any(said.is_fault for said in _said(layer, tolerance))


def overall(layers: Sequence[LayerGrowth], tolerance: float = TOLERANCE) -> str:
    """Return one sentence about all layers."""
    off = [layer for layer in layers if depends(layer, tolerance)]
    if not off:
        return f"None of {len(layers)} rows depends on the width: a learning rate found at one width holds at another."
    first = f"{len(off)} of {len(layers)} rows depend on the width"
    steepest = max(
        ((abs(size.slope), size.slope, layer.layer) for layer in off for size in _known(layer)), default=None
    )
    return (
        f"{first}." if steepest is None else f"{first}; the steepest, {steepest[2]}, goes as width^{steepest[1]:.2f}."
    )


def power(exponent: float) -> str:
    """Name a power of the width, as theory has it where a fit comes near.

    >>> power(0.96), power(0.53), power(0.7)
    ('width', '√width', 'width^0.70')
    """
    for known, name in ((1.0, "width"), (0.5, "√width")):
        if abs(exponent - known) <= NAMED_WITHIN:
            return name
    return f"width^{exponent:.2f}"


def _said(layer: LayerGrowth, tolerance: float) -> Iterator[_Said]:
    sizes = (layer.start, layer.after, layer.change)
    if not all(size.is_finite for size in sizes):
        yield _Said("is not finite at some width: lower the learning rate and check again")
        return
    yield from _of_start(layer, tolerance)
    yield from _of_change(layer, tolerance)


def _of_start(layer: LayerGrowth, tolerance: float) -> Iterator[_Said]:
    start = layer.start
    if not start.is_off(tolerance):
        return
    gain = start.slope - (0.0 if math.isnan(layer.taken.slope) else layer.taken.slope)
    if start.slope < 0 and layer.kind in {"output", ""}:
        # A small start leaves room for the update, which does not shrink with it (Yang et al. 2022, table 3).
        yield _Said(f"starts {_as_power(start)}, which is fine for an output", is_fault=False)
    elif not layer.kind:
        yield _Said(f"starts {_as_power(start)}")
    elif abs(gain) <= tolerance:
        yield _Said(f"starts {_as_power(start)}, as its input does")
    else:
        size = "larger" if gain < 0 else "smaller"
        yield _Said(f"starts {_as_power(start)}: needs initial weights {size} by {power(abs(gain))}")


def _of_change(layer: LayerGrowth, tolerance: float) -> Iterator[_Said]:
    change, own = layer.change, layer.own
    if change.is_zero:
        yield _Said("is not changed by the steps")
    elif layer.kind and own.is_off(tolerance):
        grows = own.slope > 0
        rate = f"falls as 1/{power(own.slope)}" if grows else f"grows as {power(-own.slope)}"
        yield _Said(
            f"its own update {'grows' if grows else 'fades'} {_as_power(own)}: needs a learning rate that {rate}"
        )
    elif change.is_off(tolerance):
        carried = "" if math.isnan(layer.given.slope) else ", as the change of its input does"
        yield _Said(f"its change {'grows' if change.slope > 0 else 'fades'} {_as_power(change)}{carried}")


def _as_power(size: Growth) -> str:
    return f"as width^{size.slope:.2f}"


def _known(layer: LayerGrowth) -> Iterator[Growth]:
    return (size for size in (layer.start, layer.change) if not math.isnan(size.slope))
