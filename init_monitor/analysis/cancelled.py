"""A mean over the very elements that a normalisation centred: what is left of any input is 0, but for rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.records import History, Layer

ROUNDING = 1e-10
"""Mean square of what is left, over that of what the normalisation gives, up to which it is rounding: float32 leaves 1e-14, a mean
over 50,000 independent positions 2e-5."""


class Cancelled(NamedTuple):
    """A place where a mean undoes a normalisation.

    Attributes:
        norm: the normalisation.
        reader: the layer with weights that receives the mean.
        left: mean square of what it receives, over that of what the normalisation gives.
    """

    norm: Layer
    reader: Layer
    left: float


def cancelled(history: History) -> Iterator[Cancelled]:
    """Yield each such place at step 0, where the normalisation's own weights are all 1 still.

    What multiplies by nearly 0 (a layer scale) leaves as many elements as there were; a mean leaves fewer.
    """
    first, known = history.records[0], history.structure.by_name()
    if first.step > 0:
        return
    table = first.layer_table
    for layer in history.structure.layers:
        norm = known.get(layer.inputs[0]) if len(layer.inputs) == 1 else None
        if norm is None or norm.role is not Role.NORMALISATION or layer.role is not Role.WEIGHT or not layer.fan_out:
            continue
        given, received = table.at(norm.name, Quantity.MEAN_SQUARE), table.at(layer.name, Quantity.INPUT_MEAN_SQUARE)
        elements = table.at(layer.name, Quantity.COUNT) / layer.fan_out * layer.fan_in
        if given > 0 and received <= ROUNDING * given and 2 * elements <= table.at(norm.name, Quantity.COUNT):
            yield Cancelled(norm, layer, received / given)
