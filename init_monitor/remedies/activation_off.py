"""The activation that is off as a whole where a gradient becomes exactly 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.analysis.rectifiers import feeding
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases

if TYPE_CHECKING:
    from collections.abc import Collection

    from init_monitor.records import History, Layer

NARROW = 16
"""Units up to which the loss of a layer as a whole is no wonder: each of so few is as likely to be off as on, and none stands in for it."""


def off_behind(stuck: Collection[str], history: History) -> Layer | None:
    """Return the first activation behind these layers that gave 0 for every element; ``None`` if there is none.

    Args:
        stuck: names of weight layers whose gradient is exactly 0.
        history: what was judged.
    """
    table = history.last.layer_table
    for layer in history.structure.layers:
        if layer.role is Role.ACTIVATION and layer.flat_below and table.at(layer.name, Quantity.ZERO_FRACTION) == 1:
            fed = feeding(layer, history.structure)
            if fed is not None and fed.name in stuck:
                return layer
    return None


def told(off: Layer, history: History) -> str:
    """Return what is wrong with it, to follow the message about the gradient."""
    first = history.records[0].layer_table.at(off.name, Quantity.ZERO_FRACTION)
    fired = f"; at step {history.records[0].step} it did not" if first < 1 else ""
    return f" {off.shown} gives 0 for every sample{fired}, and where it gives 0 its slope is 0, too."


def remedy(off: Layer, history: History) -> str:
    """Return what to do about it."""
    fed = feeding(off, history.structure)
    units = fed.fan_out if fed is not None else 0
    advice = f"Let negative inputs pass {off.shown} (LeakyReLU)"
    if 0 < units <= NARROW:
        advice = (
            f"Take the activation {off.shown} away: its {phrases.count(units, 'output')} may not be negative by it, and so few are"
            " soon all 0 (a code or an output has none). Or let negative inputs pass (LeakyReLU)"
        )
    first = history.records[0].layer_table.at(off.name, Quantity.ZERO_FRACTION)
    return f"{advice}{'; and use a smaller learning rate, for training switched it off' if first < 1 else ''}."
