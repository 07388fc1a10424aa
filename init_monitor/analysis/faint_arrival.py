"""Layers whose biases decide, because something between the layers before and them leaves next to nothing of the signal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.analysis.between_layers import passage_to
from init_monitor.analysis.odd_parameters import OUTWEIGHS
from init_monitor.analysis.rectifiers import feeding
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.analysis.between_layers import Passage
    from init_monitor.records import Layer, StepRecord, Structure


def faint_arrival(rectifier: Layer, record: StepRecord, structure: Structure) -> Passage | None:
    """Return what makes the input of a rectifier's layer so small that its biases decide; ``None`` if that is not why they do.

    The biases decide where their variance over the units is nine times what the weights make of the input, Var(W) · fan_in · E[x²].

    Args:
        rectifier: whose units each see one sign.
        record: what was measured.
        structure: the network.
    """
    layer = feeding(rectifier, structure)
    if layer is None or not layer.bias:
        return None
    table = record.layer_table
    made = table.at(layer.name, Quantity.EXPECTED_GAIN) * table.at(layer.name, Quantity.INPUT_MEAN_SQUARE)
    if not 0 < OUTWEIGHS * made <= record.parameter_table.at(layer.bias, Quantity.WEIGHT_VARIANCE):
        return None
    passage = passage_to(layer, record)
    return passage if passage is not None and passage.factor < 1 else None
