"""Findings in the words of other loggers: recognised by what they can do, whichever package they come from."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from init_monitor.display.formatting import layer_range
from init_monitor.records import Severity
from init_monitor.records.quoting import clipped, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from init_monitor.records import Finding

NAME = "init_monitor"
FINDINGS_FILE = f"{NAME}_findings.csv"
REPORT_FILE = f"{NAME}/report.html"

COLUMNS = ("step", "severity", "code", "rule", "layers", "message", "remedy", "code to paste")

_LONGEST_TAG = 5_000
"""Characters of a tag that every MLflow server takes."""


class Vocabulary(Protocol):
    """How a logger is told."""

    def tell(self, findings: Sequence[Finding], new: Sequence[Finding], verdict: str, step: int) -> None:
        """Tell what stands (oldest first), what of it is new, and what to think of the run."""

    def end(self, page: Callable[[], str]) -> None:
        """Tell that the run is over; ``page`` makes its HTML report."""


def vocabulary_of(logger: object) -> Vocabulary | None:
    """Return how a logger takes findings, or ``None`` if it takes numbers only."""
    experiment = _asked(logger, "experiment")
    can = {word for word in ("alert", "set_tag", "log_text", "log_other") if callable(getattr(experiment, word, None))}
    if "alert" in can and hasattr(experiment, "summary"):
        return _WithAlerts(logger, experiment)
    if {"set_tag", "log_text"} <= can and _asked(logger, "run_id") is not None:
        return _WithTags(logger, experiment)
    if "log_other" in can:
        return _WithOthers(experiment)
    if hasattr(type(experiment), "__setitem__"):
        return _WithFields(experiment)
    folder = _asked(logger, "log_dir")
    return _WithFiles(Path(folder)) if isinstance(folder, (str, Path)) and "://" not in str(folder) else None


class _WithAlerts:
    """Weights & Biases: a table, keys of the summary, and an alert for each critical finding."""

    def __init__(self, logger: Any, experiment: Any) -> None:  # noqa: ANN401 - whatever can do it
        self._logger, self._experiment = logger, experiment

    def tell(self, findings: Sequence[Finding], new: Sequence[Finding], verdict: str, step: int) -> None:
        log_table = getattr(self._logger, "log_table", None)
        if callable(log_table) and findings:
            log_table(key=f"{NAME}/findings", columns=list(COLUMNS), data=rows(findings), step=step)
        summary = self._experiment.summary
        summary[f"{NAME}/verdict"] = verdict
        for severity in Severity:
            summary[f"{NAME}/{severity}"] = sum(finding.severity is severity for finding in findings)
        for finding in new:
            if finding.severity is Severity.CRITICAL:
                text = f"{_place(finding)}: {finding.message}\n{finding.remedy_sentence}"
                self._experiment.alert(
                    title=f"{finding.code} {finding.rule}", text=printable(text, lines=True), level="ERROR"
                )

    def end(self, page: Callable[[], str]) -> None: ...


class _WithTags:
    """MLflow: tags of the run, and the report as an artifact."""

    def __init__(self, logger: Any, experiment: Any) -> None:  # noqa: ANN401 - whatever can do it
        self._logger, self._experiment = logger, experiment

    def tell(self, findings: Sequence[Finding], new: Sequence[Finding], verdict: str, step: int) -> None:  # noqa: ARG002
        tags = {"verdict": verdict, "findings": in_words(findings)}
        tags |= {str(one): str(sum(finding.severity is one for finding in findings)) for one in Severity}
        for key, value in tags.items():
            self._experiment.set_tag(self._logger.run_id, f"{NAME}.{key}", clipped(value, _LONGEST_TAG))

    def end(self, page: Callable[[], str]) -> None:
        self._experiment.log_text(self._logger.run_id, page(), REPORT_FILE)


class _WithOthers:
    """Comet: values that are no metrics."""

    def __init__(self, experiment: Any) -> None:  # noqa: ANN401 - whatever can do it
        self._experiment = experiment

    def tell(self, findings: Sequence[Finding], new: Sequence[Finding], verdict: str, step: int) -> None:  # noqa: ARG002
        self._experiment.log_other(f"{NAME}/verdict", verdict)
        self._experiment.log_other(f"{NAME}/findings", in_words(findings))

    def end(self, page: Callable[[], str]) -> None:
        log_html = getattr(self._experiment, "log_html", None)
        if callable(log_html):
            log_html(page())


class _WithFields:
    """Neptune: fields of the run, by path."""

    def __init__(self, experiment: Any) -> None:  # noqa: ANN401 - whatever can do it
        self._experiment = experiment

    def tell(self, findings: Sequence[Finding], new: Sequence[Finding], verdict: str, step: int) -> None:  # noqa: ARG002
        self._experiment[f"{NAME}/verdict"] = verdict
        self._experiment[f"{NAME}/findings"] = in_words(findings)

    def end(self, page: Callable[[], str]) -> None: ...


class _WithFiles:
    """A logger of files: a table beside its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def tell(self, findings: Sequence[Finding], new: Sequence[Finding], verdict: str, step: int) -> None:  # noqa: ARG002
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / FINDINGS_FILE).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *rows(findings)])

    def end(self, page: Callable[[], str]) -> None: ...


def rows(findings: Sequence[Finding]) -> list[list[Any]]:
    """Return a row per finding, worst first, aligned with :data:`COLUMNS`."""
    ordered = sorted(findings, key=lambda one: (-one.severity.rank, one.step))
    return [
        [
            one.step,
            str(one.severity),
            one.code,
            one.rule,
            _place(one),
            *(printable(text, lines=True) for text in (one.message, one.remedy_sentence, one.remedy_code)),
        ]
        for one in ordered
    ]


def in_words(findings: Sequence[Finding]) -> str:
    """Return findings in a line each, worst first."""
    lines = (
        f"{severity} {code} {rule} at step {step}: {places}"
        for step, severity, code, rule, places, *_ in rows(findings)
    )
    return "\n".join(lines) or "none"


def _place(finding: Finding) -> str:
    return printable(layer_range(finding.shown_layers))


def _asked(logger: object, attribute: str) -> Any:  # noqa: ANN401 - foreign
    try:
        return getattr(logger, attribute, None)
    except Exception:  # noqa: BLE001 - a property of foreign code; one that fails can do nothing
        return None
