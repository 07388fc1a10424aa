"""Summary scalars for the loggers that are not TensorBoard: CSV, Weights & Biases, MLflow and all others."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from init_monitor.errors import InitMonitorWarning
from init_monitor.sinks.file_writer import writer_source
from init_monitor.sinks.summary import summary_scalars

if TYPE_CHECKING:
    from init_monitor.records import Finding, StepRecord, Structure
    from init_monitor.sinks.sink import Run


@runtime_checkable
class MetricLogger(Protocol):
    """What every Lightning logger can do."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log numbers by name."""


class LoggerSink:
    """Sends the summary scalars of every sampled step to each logger that has no event files of its own.

    A logger that raises is dropped after one warning; the others go on.
    """

    def __init__(self) -> None:
        self._loggers: list[MetricLogger] = []

    def open(self, run: Run) -> None:
        """Choose the loggers."""
        self._loggers = [
            logger for logger in run.loggers if isinstance(logger, MetricLogger) and writer_source(logger) is None
        ]

    def emit(self, record: StepRecord, findings: tuple[Finding, ...], structure: Structure) -> None:  # noqa: ARG002
        """Log the step on its own x axis."""
        scalars = summary_scalars(record, structure) if self._loggers else {}
        if not scalars:
            return
        self._loggers = [logger for logger in self._loggers if self._send(logger, scalars, record.step)]

    def close(self) -> None:
        """Release the loggers."""
        self._loggers = []

    def _send(self, logger: MetricLogger, scalars: dict[str, float], step: int) -> bool:
        """Return whether the logger took them."""
        try:
            logger.log_metrics(dict(scalars), step=step)
        except Exception as error:  # noqa: BLE001 - a logger is foreign code, the training must not pay for it
            warnings.warn(
                f"{type(logger).__name__} could not log at step {step} ({type(error).__name__}: {error}); "
                "init_monitor sends it nothing more, everything else continues",
                InitMonitorWarning,
                stacklevel=3,
            )
            return False
        return True
