"""Length scales as rows and sentences: how far the signal, the difference between samples and the gradient reach."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from init_monitor.analysis.length_scales import Course
from init_monitor.display.formatting import compact
from init_monitor.display.step_tables import TextTable
from init_monitor.display.table_style import PLAIN, UNICODE, blank_table, words

if TYPE_CHECKING:
    from rich.table import Table

    from init_monitor.analysis.length_scales import Difference, LengthScales

COLUMNS = ("over depth", "per layer", "length scale")
FAR = 1000
"""Layers beyond which a prediction is of no use: no chain is that deep."""


def length_scale_table(scales: LengthScales) -> TextTable:
    """Return a row per length scale; what follows for more layers stands below.

    Args:
        scales: what was fitted.
    """
    reach = _layers(scales.signal) if scales.signal_moves else "none: it is level"
    rows = [("signal (mean square)", _factor(scales.signal), reach)]
    if scales.difference is not None:
        rows.append(("difference of two samples", *_of_difference(scales.difference)))
    if not math.isnan(scales.gradient):
        rows.append(("gradient, backward (χ)", _factor(scales.gradient), _layers(scales.gradient)))
    title = f"Length scales over {len(scales.layers)} weight layers in a row"
    return TextTable("scales", title, COLUMNS, tuple(rows), frozenset({COLUMNS[0]}), prediction(scales))


def drawn(scales: LengthScales, *, plain: bool = False) -> Table:
    """Return the same for the console, without what stands below.

    Args:
        scales: what was fitted.
        plain: draw in ASCII.
    """
    text = length_scale_table(scales)
    table = blank_table(text.title, PLAIN if plain else UNICODE, 2)
    for column in text.columns:
        table.add_column(words(column), justify="left" if column in text.left else "right", no_wrap=True)
    for row in text.rows:
        table.add_row(*map(words, row))
    return table


def prediction(scales: LengthScales) -> str:
    """Say how far samples can be told apart."""
    difference = scales.difference
    if difference is None:
        return "The samples of the batch are alike: nothing can be said of their difference."
    deepest = scales.layers[-1]
    now = f"At {deepest} two samples differ by {compact(difference.now)} of their mean square"
    if difference.more == 0:
        return f"{now}: they cannot be told apart any more."
    if difference.course is Course.DECAYS:
        return f"{now}: after {_count(difference.more)} more such layers they cannot be told apart."
    if difference.course is Course.CRITICAL:
        return (
            f"{now}, and it falls with the square of the depth only: the samples stay apart at any depth that is used."
        )
    if difference.course is Course.SETTLES:
        rest = "" if math.isnan(difference.rest) else f", and settle near {compact(difference.rest)}"
        return f"{now}; small differences grow{rest}: they stay apart however many such layers follow."
    return f"{now}, and that does not change from layer to layer."


def _of_difference(difference: Difference) -> tuple[str, str]:
    if difference.course is Course.CRITICAL:
        return "as 1/depth²", "none: it is critical"
    if difference.course is Course.STAYS:
        return _factor(1.0), "none: it is level"
    return _factor(difference.factor), f"{compact(difference.scale)} layers"


def _factor(factor: float) -> str:
    return f"×{compact(factor)}"


def _layers(factor: float) -> str:
    """Return in how many layers a quantity changes by a factor of e."""
    pace = abs(math.log(factor)) if factor > 0 else math.inf
    return f"{compact(1 / pace)} layers" if pace else "none: it is level"


def _count(layers: float) -> str:
    return f"{max(1, math.ceil(layers)):,}" if layers < FAR else f"more than {FAR:,}"
