"""The run store: everything that was measured, on disk next to the logs, for the report and for comparing runs."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING

from init_monitor.errors import InitMonitorWarning, StoreError
from init_monitor.records.quoting import printable, quoted_path
from init_monitor.sinks.sink import Run
from init_monitor.store import RunWriter, fresh_folder, run_file

if TYPE_CHECKING:
    from pathlib import Path

    from init_monitor.records import Finding, LossStretch, StepRecord, Structure


class RunStoreSink:
    """Writes ``<log_dir>/init_monitor/run.jsonl``.

    Without a log directory it creates a folder where the run says; if the run names none, nothing is stored.
    If the disk refuses (read-only, full), it says so once and stops storing; the training goes on.
    """

    def __init__(self) -> None:
        self._writer: RunWriter | None = None
        self._run = Run()

    def open(self, run: Run) -> None:
        """Begin the file, or append to the one of a resumed run."""
        self.close()
        self._run = run
        folder = run.log_dir or run.runs_dir
        if folder is None:
            return
        try:
            folder = run.log_dir or fresh_folder(folder)
            self._writer = RunWriter(run_file(folder), run.settings, run.versions, run.first_step, pack=True)
        except (OSError, StoreError) as error:
            self._give_up(run_file(folder), error)
        else:
            run.stored.append(folder)

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
        self._run.stored[:] = [folder for folder in self._run.stored if run_file(folder) != path]
        cause = (isinstance(error, OSError) and error.strerror) or str(error)
        warnings.warn(
            f"the run cannot be stored in {quoted_path(path)} ({printable(cause)}); `init-monitor report` will have nothing to read; "
            "the training and everything else continue",
            InitMonitorWarning,
            stacklevel=3,
        )
