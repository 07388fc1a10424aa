"""The run store: everything that was measured, on disk beside the logs, for the report and for comparing runs."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING

from init_monitor.errors import InitMonitorWarning, StoreError
from init_monitor.store import RunWriter, run_file

if TYPE_CHECKING:
    from pathlib import Path

    from init_monitor.records import Finding, LossStretch, StepRecord, Structure
    from init_monitor.sinks.sink import Run


class RunStoreSink:
    """Writes ``<log_dir>/init_monitor/run.jsonl``; without a log directory it does nothing.

    If the disk refuses (read-only, full), it says so once and is off; the training goes on.
    """

    def __init__(self) -> None:
        self._writer: RunWriter | None = None

    def open(self, run: Run) -> None:
        """Begin the file, or append to the one of a resumed run."""
        self.close()
        if run.log_dir is None:
            return
        path = run_file(run.log_dir)
        try:
            self._writer = RunWriter(path, settings=run.settings, versions=run.versions)
        except (OSError, StoreError) as error:
            self._give_up(path, error)

    def emit(self, record: StepRecord, findings: tuple[Finding, ...], structure: Structure) -> None:
        """Append the step."""
        if self._writer is None:
            return
        try:
            self._writer.write(record, findings, structure)
        except OSError as error:
            self._give_up(self._writer.path, error)

    def conclude(self, losses: LossStretch, findings: tuple[Finding, ...]) -> None:
        """Append the losses of the last steps."""
        if self._writer is None:
            return
        try:
            self._writer.conclude(losses, findings)
        except OSError as error:
            self._give_up(self._writer.path, error)

    def close(self) -> None:
        """Close the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            # What could not be flushed was reported when it was written.
            with contextlib.suppress(OSError):
                writer.close()

    def _give_up(self, path: Path, error: Exception) -> None:
        self.close()
        cause = (isinstance(error, OSError) and error.strerror) or str(error)
        warnings.warn(
            f"the run cannot be stored in {path} ({cause}); `init-monitor report` will have nothing to read, "
            "the training and everything else go on",
            InitMonitorWarning,
            stacklevel=3,
        )
