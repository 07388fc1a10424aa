"""The loggers that are not TensorBoard: CSV, Weights & Biases, MLflow and whatever else logs."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from init_monitor.display.verdict import verdict_of
from init_monitor.errors import InitMonitorWarning
from init_monitor.records import LossCurve, Severity, settled
from init_monitor.sinks.file_writer import writer_source
from init_monitor.sinks.sink import Run
from init_monitor.sinks.summary import summary_scalars
from init_monitor.sinks.vocabularies import vocabulary_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from init_monitor.records import Finding, LossStretch, StepRecord, Structure
    from init_monitor.sinks.vocabularies import Vocabulary


@runtime_checkable
class MetricLogger(Protocol):
    """What every Lightning logger can do."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log numbers by name."""


class LoggerSink:
    """Sends summary scalars and findings to each logger that has no event files of its own.

    The scalars of every sampled step go through ``log_metrics``, on the logger's own x axis. Findings go where the logger
    has a place for them (:mod:`init_monitor.sinks.vocabularies`). A logger that raises is dropped after one warning; the
    others go on.
    """

    def __init__(self) -> None:
        self._begin(Run())

    def _begin(self, run: Run) -> None:
        self._run = run
        self._loggers: list[tuple[MetricLogger, Vocabulary | None]] = []
        self._findings: list[Finding] = []
        self._losses = LossCurve()
        self._last: tuple[StepRecord, Structure] | None = None

    def open(self, run: Run) -> None:
        """Choose the loggers."""
        self._begin(run)
        self._findings += run.findings
        self._loggers = [
            (logger, vocabulary_of(logger))
            for logger in run.loggers
            if isinstance(logger, MetricLogger) and writer_source(logger) is None
        ]

    def emit(self, record: StepRecord, findings: tuple[Finding, ...], structure: Structure) -> None:
        """Log the step on its own x axis, and what is new."""
        if not self._loggers:
            return
        self._last = (record, structure)
        self._losses.add(record.losses)
        scalars = summary_scalars(record, structure)
        if scalars:
            self._each(record.step, lambda logger, _: logger.log_metrics(dict(scalars), step=record.step))
        if findings:
            self._tell(findings, record.step)

    def conclude(self, losses: LossStretch, findings: tuple[Finding, ...]) -> None:
        """Tell what the losses of the last steps show."""
        self._losses.add(losses)
        if findings and self._loggers:
            self._tell(findings, max(finding.step for finding in findings))

    def close(self) -> None:
        """Tell what to think of the run, give the report to those that keep files, and let go of the loggers."""
        if self._last is not None:
            self._tell((), self._last[0].step)
            make = self._run.page
            if make is not None:
                page = cache(make)
                self._each(
                    self._last[0].step, lambda _, vocabulary: None if vocabulary is None else vocabulary.end(page)
                )
        self._begin(Run())

    def _tell(self, new: Sequence[Finding], step: int) -> None:
        self._findings = settled([*self._findings, *new])
        verdict = self._verdict()

        def tell(_: MetricLogger, vocabulary: Vocabulary | None) -> None:
            if vocabulary is not None:
                vocabulary.tell(self._findings, [one for one in new if not one.takes_back], verdict, step)

        self._each(step, tell)

    def _verdict(self) -> str:
        counts = {severity: sum(one.severity is severity for one in self._findings) for severity in reversed(Severity)}
        named = ", ".join(f"{count} {severity}" for severity, count in counts.items() if count)
        if self._last is None:
            return named or "nothing measured"
        record, structure = self._last
        verdict = verdict_of(self._losses, structure, [record])
        if named:
            return f"{named}{verdict.beside_findings}"
        return f"{'healthy so far' if verdict.healthy else 'no findings'}; {verdict.words}"

    def _each(self, step: int, say: Callable[[MetricLogger, Vocabulary | None], None]) -> None:
        """Tell every logger; one that fails is told nothing more."""
        self._loggers = [one for one in self._loggers if self._works(one, step, say)]

    @staticmethod
    def _works(
        one: tuple[MetricLogger, Vocabulary | None],
        step: int,
        say: Callable[[MetricLogger, Vocabulary | None], None],
    ) -> bool:
        try:
            say(*one)
        except Exception as error:  # noqa: BLE001 - a logger is foreign code, the training must not pay for it
            warnings.warn(
                f"{type(one[0]).__name__} could not log at step {step} ({type(error).__name__}: {error}); "
                "init_monitor sends it nothing more, everything else continues",
                InitMonitorWarning,
                stacklevel=4,
            )
            return False
        return True
