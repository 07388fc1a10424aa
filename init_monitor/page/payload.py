"""How a matrix is sent to the browser: a readable header, then the raw numbers.

Four bytes (little-endian) give the length of a JSON header, which is padded with spaces so that the numbers after it
begin at a multiple of four; then float32, little-endian, row by row. NaN and infinities survive, which JSON has no form
for, and a browser takes the numbers as a typed array without reading them one by one.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from init_monitor.records.quantities import SCHEMA_VERSION

if TYPE_CHECKING:
    from init_monitor.page.series import Series

_ALIGNMENT = 4
"""Bytes of a float32: a typed array begins at a multiple of its element."""


def encoded(series: Series, **more: object) -> bytes:
    """Return a series as bytes.

    Args:
        series: the numbers.
        more: further fields of the header, as JSON values.
    """
    header = {
        "v": SCHEMA_VERSION,
        "names": list(series.names),
        "steps": series.steps.tolist(),
        "sampled": series.sampled,
        **more,
    }
    text = json.dumps(header, allow_nan=False, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % _ALIGNMENT)
    return struct.pack("<I", len(text)) + text + series.values.astype("<f4").tobytes()


def decoded(payload: bytes) -> tuple[dict[str, Any], np.ndarray[tuple[int, int], np.dtype[np.float32]]]:
    """Return header and matrix: what the browser makes of it."""
    (length,) = struct.unpack_from("<I", payload)
    header = json.loads(payload[_ALIGNMENT : _ALIGNMENT + length])
    values = np.frombuffer(payload, dtype="<f4", offset=_ALIGNMENT + length)
    return header, values.reshape(len(header["names"]), len(header["steps"]))
