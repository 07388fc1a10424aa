"""A dashboard of the summary scalars for TensorBoard's Custom Scalars tab, where the tab of ours is not installed."""

from __future__ import annotations

import re

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.custom_scalar import layout_pb2, metadata

from init_monitor.records.quantities import Quantity, scalar_tag

_CHARTS: dict[str, dict[str, tuple[Quantity, str]]] = {
    "Signal": {
        "Variance over depth (log10)": (Quantity.VARIANCE, "log10_(min|median|max)"),
        "Gradient variance over depth (log10)": (Quantity.GRADIENT_VARIANCE, "log10_(min|median|max)"),
        "Update ratio (log10)": (Quantity.UPDATE_RATIO, "log10_(min|median|max)"),
    },
    "Units": {
        "Most dead units in a layer": (Quantity.DEAD_FRACTION, "max"),
        "Most saturation in a layer": (Quantity.SATURATED_FRACTION, "max"),
    },
    "Residual blocks": {
        "Growth per block": (Quantity.RESIDUAL_GROWTH, "(median|max)"),
        "Branch over skip (log10)": (Quantity.RESIDUAL_VARIANCE_RATIO, "log10_(min|median)"),
        "Correlation of skip and branch": (Quantity.RESIDUAL_CORRELATION, "abs_median"),
    },
}
"""Titles, and which summary scalars lie in one picture: what belongs together, with the same unit."""


def custom_scalars_layout() -> Summary.Value:
    """Return the layout; TensorBoard reads it once from a run and applies it to all of them."""
    layout = layout_pb2.Layout(
        category=[
            layout_pb2.Category(
                title=f"Init Monitor: {title}",
                chart=[
                    layout_pb2.Chart(title=name, multiline=layout_pb2.MultilineChartContent(tag=[_pattern(*what)]))
                    for name, what in charts.items()
                ],
            )
            for title, charts in _CHARTS.items()
        ]
    )
    tensor = TensorProto(dtype=DT_STRING, tensor_shape=TensorShapeProto(), string_val=[layout.SerializeToString()])
    return Summary.Value(tag=metadata.CONFIG_SUMMARY_TAG, tensor=tensor, metadata=metadata.create_summary_metadata())


def _pattern(quantity: Quantity, statistic: str) -> str:
    return f"^{re.escape(scalar_tag(quantity, ''))}{statistic}$"
