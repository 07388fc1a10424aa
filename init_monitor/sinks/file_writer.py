"""Which loggers write TensorBoard event files: recognised by what they can do, whichever package they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class FileWriter(Protocol):
    """What torch's ``SummaryWriter`` writes events through."""

    def add_summary(self, summary: object, global_step: int | None = None, walltime: float | None = None) -> None:
        """Write one event that holds ``summary``."""

    def flush(self) -> None:
        """Flush what was written to disk."""


def writer_source(logger: object) -> Callable[[], FileWriter | None] | None:
    """Return a function that gives the logger's event writer, or ``None`` if it has none.

    The writer is asked for again at every use, because a ``SummaryWriter`` that was closed in between opens a new
    file, and because writing to a second one would hide the logger's own events from TensorBoard.
    """
    try:
        experiment = getattr(logger, "experiment", None)
    except Exception:  # noqa: BLE001 - `experiment` is a property of foreign code; one that fails is no event writer
        return None
    source = getattr(experiment, "_get_file_writer", None)
    if not callable(source):
        return None

    def current() -> FileWriter | None:
        # A dummy logger (fast_dev_run, ranks other than zero) answers every call with None.
        writer: FileWriter | None = source()
        return writer if callable(getattr(writer, "add_summary", None)) else None

    return current
