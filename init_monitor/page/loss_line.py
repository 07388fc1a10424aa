"""The training loss as the page draws it and as a report words it: few enough points for a screen, each a real step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from init_monitor.store import losses_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from init_monitor.records import LossCurve

MOST_POINTS = 2_000
"""Points that a page gets of one curve: about what a screen has pixels for."""

_LOG_FROM = 100.0
"""Largest loss over smallest from which a curve is drawn on a logarithmic scale: the end of it would lie on the axis."""
_WIDE, _HIGH = 1000, 100
"""Units of the small picture."""

_PER_PART = 3
"""Of each part of a long curve the smallest, the largest and the first non-finite loss stay, so that no spike is lost."""


SPARK_POINTS = 150
"""Points of the small curve in the list of runs, which is about as many pixels wide."""


def loss_line(losses: LossCurve, most: int = MOST_POINTS) -> dict[str, Any] | None:
    """Return the curve as JSON values, in at most ``most`` points; ``None`` if no loss is known.

    ``steps`` and ``values`` are aligned; a value that is not finite is a string. ``nonfinite_from`` is the step from
    which no loss was finite any more, ``null`` if the last one is finite.
    """
    whole = losses.since(0)
    if not len(whole):
        return None
    chosen = _chosen(whole.values, most)
    line = losses_json(type(whole)(whole.steps[chosen], whole.values[chosen]))
    return line | {"nonfinite_from": losses.nonfinite_from}


def loss_words(losses: LossCurve) -> str:
    """Return what the loss did in a sentence or two; empty if no loss is known."""
    steps, values = losses.steps, losses.values
    if not len(steps):
        return ""
    first = f"{_number(float(values[0]))} at step {steps[0]}"
    if len(steps) == 1:
        return f"Training loss: {first}."
    turned = losses.nonfinite_from
    told = f"Training loss: {first}, {_number(float(values[-1]))} at step {steps[-1]}."
    if turned is not None:
        return f"{told} It is not finite from step {turned} on."
    if losses.first_nonfinite is not None:
        return f"{told} It was not finite at step {losses.first_nonfinite}, and became finite again."
    return told


def loss_picture(losses: LossCurve) -> str:
    """Return the curve as a small SVG picture; empty with fewer than two finite losses.

    It is drawn on a logarithmic scale where the losses are positive and spread over more than two decades.
    """
    whole = losses.since(0)
    chosen = _chosen(whole.values) if len(whole) else np.array([], np.intp)
    steps, values = whole.steps[chosen].astype(np.float64), whole.values[chosen].astype(np.float64)
    finite = np.isfinite(values)
    steps, values = steps[finite], values[finite]
    if len(values) < 2:  # noqa: PLR2004 - a line has two ends
        return ""
    if values.min() > 0 and values.max() / values.min() > _LOG_FROM:
        values = np.log10(values)
    across, down = np.ptp(steps) or 1.0, np.ptp(values) or 1.0
    points = " L".join(
        f"{_WIDE * (step - steps[0]) / across:.1f},{_HIGH * (values.max() - value) / down:.1f}"
        for step, value in zip(steps, values, strict=True)
    )
    return (
        f'<svg class="course" viewBox="0 0 {_WIDE} {_HIGH}" preserveAspectRatio="none" role="img" '
        f'aria-label="training loss"><path d="M{points}"/></svg>'
    )


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else {math.inf: "∞", -math.inf: "-∞"}.get(value, "NaN")


def _chosen(values: NDArray[np.float32], most: int = MOST_POINTS) -> NDArray[np.intp]:
    """Return which points stay, ascending: the first, the last, and of each part of equal length those that stand out."""
    count = len(values)
    if count <= most:
        return np.arange(count)
    kept = {0, count - 1}
    parts = (most - len(kept)) // _PER_PART
    for part in np.array_split(np.arange(count), parts):
        finite = np.isfinite(values[part])
        if finite.any():
            inside = part[finite]
            kept |= {int(inside[values[inside].argmin()]), int(inside[values[inside].argmax()])}
        kept.update(part[~finite][:1].tolist())
    return np.array(sorted(kept), np.intp)
