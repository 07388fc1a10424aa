"""Findings reach the loggers that are not TensorBoard, in their own words."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any

import pytest
import replays
from models import Classifier, fit, loader, mlp
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.logger import DummyLogger

from init_monitor import InitMonitor
from init_monitor.errors import InitMonitorWarning
from init_monitor.records import Severity
from init_monitor.sinks import LoggerSink, Run
from init_monitor.sinks.vocabularies import COLUMNS, FINDINGS_FILE, REPORT_FILE, vocabulary_of

if TYPE_CHECKING:
    from pathlib import Path


class Logger:
    """What every Lightning logger can do; what it was told is kept in order."""

    def __init__(self, experiment: Any, **attributes: Any) -> None:
        self.experiment = experiment
        self.numbers: list[int | None] = []
        vars(self).update(attributes)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.numbers.append(step)


class WithAlerts:
    """``wandb.Run`` as documented: a summary that is a mapping, and ``alert(title, text, level)``."""

    def __init__(self) -> None:
        self.summary: dict[str, Any] = {}
        self.alerts: list[dict[str, Any]] = []

    def alert(self, title: str, text: str, level: Any = None, wait_duration: Any = None) -> None:
        self.alerts.append({"title": title, "text": text, "level": level})


class TableLogger(Logger):
    """``WandbLogger.log_table`` as documented."""

    def __init__(self, experiment: Any) -> None:
        super().__init__(experiment)
        self.tables: list[tuple[int | None, list[list[Any]]]] = []

    def log_table(
        self, key: str, columns: Any = None, data: Any = None, dataframe: Any = None, step: int | None = None
    ) -> None:
        assert key == "init_monitor/findings"
        assert all(len(row) == len(columns) for row in data)
        self.tables.append((step, data))


class WithTags:
    """``MlflowClient.set_tag(run_id, key, value)`` and ``log_text(run_id, text, artifact_file)`` as documented."""

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        self.texts: dict[str, str] = {}

    def set_tag(self, run_id: str, key: str, value: Any, synchronous: Any = None) -> None:
        assert run_id == "0123"
        self.tags[key] = value

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        self.texts[artifact_file] = text


class WithFields(dict[str, Any]):
    """``neptune.Run``: values are assigned to paths."""


class WithOthers:
    """``comet_ml.Experiment.log_other(key, value)`` and ``log_html(html)``."""

    def __init__(self) -> None:
        self.others: dict[str, str] = {}
        self.pages: list[str] = []

    def log_other(self, key: str, value: Any) -> None:
        self.others[key] = value

    def log_html(self, html: str, clear: bool = False) -> None:  # noqa: FBT001, FBT002 - as it is there
        self.pages.append(html)


def told(name: str, *loggers: Any) -> None:
    replays.replay(name, LoggerSink(), Run(loggers=loggers, page=lambda: "<html>report</html>"))


def test_a_table_summary_keys_and_an_alert_for_each_critical_finding() -> None:
    run = WithAlerts()
    logger = TableLogger(run)
    told("exploding", logger)
    assert run.summary["init_monitor/verdict"] == "3 critical"
    assert (run.summary["init_monitor/critical"], run.summary["init_monitor/warning"]) == (3, 0)
    found = replays.findings_of("exploding")
    assert {alert["title"] for alert in run.alerts} == {f"{one.code} {one.rule}" for one in found}
    assert len(run.alerts) == sum(one.severity is Severity.CRITICAL for one in found)
    assert {alert["level"] for alert in run.alerts} == {"ERROR"}
    step, table = logger.tables[-1]
    assert step == logger.numbers[-1]
    assert [row[2] for row in table] == [one.code for one in found]
    assert table[0][COLUMNS.index("layers")] == "net.0 … net.22 (12 layers)"
    assert "mirrored_" in table[0][COLUMNS.index("code to paste")]


def test_tags_and_the_report_as_an_artifact() -> None:
    client = WithTags()
    told("dead_relu", Logger(client, run_id="0123"))
    assert client.tags["init_monitor.verdict"].startswith("1 critical")
    assert client.tags["init_monitor.findings"].startswith("critical IM301")
    assert client.tags["init_monitor.critical"] == "1"
    assert client.texts == {REPORT_FILE: "<html>report</html>"}


def test_fields_by_path_and_values_that_are_no_metrics() -> None:
    fields, others = WithFields(), WithOthers()
    told("healthy_cnn", Logger(fields), Logger(others))
    assert fields["init_monitor/findings"] == "none"
    assert fields["init_monitor/verdict"].startswith("healthy so far; the loss fell from")
    assert others.others == dict(fields)
    assert others.pages == ["<html>report</html>"]


def test_a_logger_of_files_gets_a_table_beside_its_own(tmp_path: Path) -> None:
    logger = CSVLogger(str(tmp_path))
    told("vanishing", logger)
    with (tmp_path / "lightning_logs" / "version_0" / FINDINGS_FILE).open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert tuple(head) == COLUMNS
    severities = [row[1] for row in rows]
    assert severities == sorted(severities, key=lambda word: -Severity(word).rank)
    assert {row[2] for row in rows} == {one.code for one in replays.findings_of("vanishing")}


def test_a_logger_that_takes_numbers_only_gets_numbers_only() -> None:
    logger = Logger(None)
    assert vocabulary_of(logger) is None
    told("exploding", logger)
    assert logger.numbers == [record.step for record in replays.recorded("exploding").records]


def test_lightnings_own_stand_in_for_a_logger_is_no_obstacle() -> None:
    told("exploding", DummyLogger())


def test_one_that_fails_is_left_out_after_one_warning() -> None:
    class Gone(WithTags):
        def set_tag(self, run_id: str, key: str, value: Any, synchronous: Any = None) -> None:
            message = "no route to host"
            raise ConnectionError(message)

    failing, working = Logger(Gone(), run_id="0123"), WithAlerts()
    with pytest.warns(InitMonitorWarning, match="Logger could not log at step 0 .ConnectionError: no route") as caught:
        told("exploding", failing, TableLogger(working))
    assert len(caught) == 1
    assert failing.numbers == [0]
    assert working.summary["init_monitor/critical"] == 3


def test_a_fit_gives_its_report_to_a_logger_that_keeps_files(tmp_path: Path) -> None:
    client = WithTags()

    class Keeps(CSVLogger):
        @property
        def experiment(self) -> Any:
            return client

        run_id = "0123"

        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            assert all(math.isfinite(value) for value in metrics.values())

        def save(self) -> None: ...

        def finalize(self, status: str) -> None: ...

    monitor = InitMonitor(dense_steps=2, every_n_steps=10)
    fit(Classifier(mlp(8, 16)), loader(16, samples=128, batch=16), monitor, steps=8, logger=Keeps(str(tmp_path)))
    page = client.texts[REPORT_FILE]
    assert page.startswith("<!doctype html>")
    assert "version_0" in page
    assert "2 measured steps up to step 1" in page
    assert set(client.tags) >= {"init_monitor.verdict", "init_monitor.findings"}
