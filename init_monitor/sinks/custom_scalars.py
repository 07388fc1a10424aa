"""A dashboard of the summary scalars for TensorBoard's Custom Scalars tab, where our own tab is not installed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.custom_scalar import layout_pb2, metadata

from init_monitor.records.registry import quantities
from init_monitor.records.tags import scalar_tag

if TYPE_CHECKING:
    from init_monitor.records.quantities import Quantity


def custom_scalars_layout() -> Summary.Value:
    """Return the layout; TensorBoard reads it once from a run and applies it to all of them."""
    categories: dict[str, list[layout_pb2.Chart]] = {}
    for quantity in quantities():
        if quantity.facts.chart is not None:
            category, title = quantity.facts.chart
            lines = layout_pb2.MultilineChartContent(tag=[_pattern(quantity)])
            categories.setdefault(category, []).append(layout_pb2.Chart(title=title, multiline=lines))
    layout = layout_pb2.Layout(
        category=[
            layout_pb2.Category(title=f"Init Monitor: {category}", chart=charts)
            for category, charts in categories.items()
        ]
    )
    tensor = TensorProto(dtype=DT_STRING, tensor_shape=TensorShapeProto(), string_val=[layout.SerializeToString()])
    return Summary.Value(tag=metadata.CONFIG_SUMMARY_TAG, tensor=tensor, metadata=metadata.create_summary_metadata())


def _pattern(quantity: Quantity) -> str:
    """All summary scalars of a quantity lie in one picture: they have the same unit."""
    statistics = "|".join(map(re.escape, quantity.facts.summary))
    return f"^{re.escape(scalar_tag(quantity, ''))}({statistics})$"
