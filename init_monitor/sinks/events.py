"""What goes into TensorBoard's event files, as protocol buffers. Pure: nothing is written here.

Metadata belongs on the first value of a tag only: TensorBoard remembers it, and on each value it would cost several
times the numbers themselves.
"""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_TENSOR, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_FLOAT, DT_STRING
from tensorboard.plugins.text.plugin_data_pb2 import TextPluginData

from init_monitor.records.quantities import PLUGIN_NAME, SCHEMA_VERSION

if TYPE_CHECKING:
    from init_monitor.records import Column


_PNG_SIZE = slice(16, 24)
"""Where a PNG says its width and height (PNG specification, 11.2.1): after signature, length and name of IHDR."""

_LARGEST = float(np.finfo(np.float32).max)

_RGB = 3
"""What the image summary calls three colour channels."""


def vector(tag: str, column: Column, kind: str, *, first: bool, facts: dict[str, Any] | None = None) -> Summary.Value:
    """Return a float32 vector, one number per layer, parameter or residual; what float32 cannot hold becomes ±Inf.

    Args:
        tag: of the quantity.
        column: the numbers.
        kind: ``"layers"``, ``"parameters"`` or ``"residuals"``: what the numbers are of.
        first: True if the tag was not used before in this file.
        facts: what is known of the quantity, as JSON values, where a reader may not know it.
    """
    with np.errstate(over="ignore"):
        content = column.astype("<f4").tobytes()
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=len(column))])
    tensor = TensorProto(dtype=DT_FLOAT, tensor_shape=shape, tensor_content=content)
    return Summary.Value(tag=tag, tensor=tensor, metadata=_metadata(kind, facts) if first else None)


def document(tag: str, content: dict[str, Any], kind: str, *, first: bool) -> Summary.Value:
    """Return a JSON object with its schema version, as one string."""
    text = json.dumps({"v": SCHEMA_VERSION, **content}, allow_nan=False, separators=(",", ":"))
    return Summary.Value(tag=tag, tensor=_string(text), metadata=_metadata(kind) if first else None)


def scalar(tag: str, value: float) -> Summary.Value:
    """Return a plain scalar, which every TensorBoard shows without a plugin."""
    # What float32 cannot hold becomes ±Inf here: not every version of protocol buffers takes it.
    narrow = value if abs(value) <= _LARGEST or math.isnan(value) else math.copysign(math.inf, value)
    return Summary.Value(tag=_utf8(tag), simple_value=narrow)


def text(tag: str, markdown: str, *, first: bool) -> Summary.Value:
    """Return Markdown for the Text tab."""
    content = TextPluginData(version=0).SerializeToString()
    metadata = SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name="text", content=content), data_class=DATA_CLASS_TENSOR
    )
    return Summary.Value(tag=_utf8(tag), tensor=_string(markdown), metadata=metadata if first else None)


def image(tag: str, png: bytes) -> Summary.Value:
    """Return a picture for the Images tab."""
    width, height = struct.unpack(">II", png[_PNG_SIZE])
    return Summary.Value(
        tag=tag, image=Summary.Image(height=height, width=width, colorspace=_RGB, encoded_image_string=png)
    )


def _string(content: str) -> TensorProto:
    return TensorProto(dtype=DT_STRING, tensor_shape=TensorShapeProto(), string_val=[_utf8(content).encode()])


def _utf8(content: str) -> str:
    """Replace what UTF-8 cannot hold: a single such character in a name would lose the whole event."""
    return content.encode("utf-8", "replace").decode("utf-8")


def _metadata(kind: str, facts: dict[str, Any] | None = None) -> SummaryMetadata:
    more = {} if facts is None else {"quantity": facts}
    content = json.dumps({"v": SCHEMA_VERSION, "kind": kind, **more}, allow_nan=False).encode("ascii")
    return SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME, content=content), data_class=DATA_CLASS_TENSOR
    )
