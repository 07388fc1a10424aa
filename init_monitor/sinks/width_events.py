"""A coordinate check as an event file: TensorBoard's tab shows it beside the runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from init_monitor.errors import InitMonitorError
from init_monitor.records.tags import WIDTHS_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_widths(folder: Path, content: Mapping[str, Any]) -> None:
    """Write one event with the check into a new event file.

    Args:
        folder: of a run, or a new one; TensorBoard calls the check by its name.
        content: JSON values.

    Raises:
        InitMonitorError: TensorBoard is not installed, which writes event files.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415 - only where it is asked for
        from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415
        from tensorboard.summary.writer.event_file_writer import EventFileWriter  # noqa: PLC0415

        from init_monitor.sinks.events import document  # noqa: PLC0415
    except ImportError as error:
        message = (
            f"A folder ({folder.name}) gets an event file for TensorBoard, which is not installed: pip install tensorboard, or give"
            " a file that ends in .png, .html or .json."
        )
        raise InitMonitorError(message) from error
    writer = EventFileWriter(str(folder), filename_suffix=".widths")
    value = document(WIDTHS_TAG, dict(content), "widths", first=True)
    writer.add_event(Event(wall_time=time.time(), step=0, summary=Summary(value=[value])))
    writer.close()
