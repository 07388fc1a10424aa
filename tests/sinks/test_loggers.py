"""Summary scalars for any logger, and the run store beside the logs: one that fails costs nothing else."""

from __future__ import annotations

import csv
import errno
import math
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import linears, record
from hypothesis import given, strategies as st

import init_monitor.sinks as table_of_contents
from init_monitor.errors import InitMonitorWarning
from init_monitor.records import Finding, Severity
from init_monitor.records.quantities import LAYER_QUANTITIES, PARAMETER_QUANTITIES, Quantity
from init_monitor.sinks import LoggerSink, Run, RunStoreSink, Sink, default_sinks
from init_monitor.sinks.summary import LOG10_CEILING, LOG10_FLOOR, summary_scalars
from init_monitor.store import read_run, run_file

if TYPE_CHECKING:
    from pathlib import Path

NET = linears(3)


class Remembers:
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        self.logged: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.logged.append((step, metrics))


class Raises:
    """A logger whose server is gone."""

    calls = 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.calls += 1
        message = "server is gone"
        raise ConnectionError(message)


def emit_steps(sink: Sink, *steps: int) -> None:
    for step in steps:
        sink.emit(record(NET, {Quantity.ABS_MAX: 1.0}, step=step), (), NET)


def test_the_scalars_are_minimum_median_and_maximum_over_depth() -> None:
    scalars = summary_scalars(
        record(
            NET,
            {
                Quantity.VARIANCE: [1e-4, 1e2, 1.0],
                Quantity.GRADIENT_VARIANCE: [math.nan, 1e-6, 1e-8],
                Quantity.ABS_MAX: [3.0, 9.0, 5.0],
                Quantity.DEAD_FRACTION: [math.nan, 0.25, math.nan],
                Quantity.UPDATE_RATIO: 1e-3,
            },
        )
    )
    start = "init_monitor_summary"
    assert scalars == pytest.approx(
        {
            f"{start}/variance/log10_min": -4,
            f"{start}/variance/log10_median": 0,
            f"{start}/variance/log10_max": 2,
            f"{start}/gradient_variance/log10_min": -8,
            f"{start}/gradient_variance/log10_median": math.log10((1e-6 + 1e-8) / 2),
            f"{start}/gradient_variance/log10_max": -6,
            f"{start}/abs_max/max": 9,
            f"{start}/dead_fraction/max": 0.25,
            f"{start}/update_ratio/log10_min": -3,
            f"{start}/update_ratio/log10_median": -3,
            f"{start}/update_ratio/log10_max": -3,
        }
    )


@given(st.lists(st.floats(0) | st.just(math.nan), min_size=3, max_size=3))
def test_there_are_at_most_twenty_one_scalars_and_none_is_nan(values: list[float]) -> None:
    scalars = summary_scalars(record(NET, dict.fromkeys((*LAYER_QUANTITIES, *PARAMETER_QUANTITIES), values)))
    assert len(scalars) == (0 if all(map(math.isnan, values)) else 21)
    assert not any(map(math.isnan, scalars.values()))
    logarithms = [value for tag, value in scalars.items() if "log10" in tag]
    assert all(LOG10_FLOOR <= value <= LOG10_CEILING for value in logarithms)


def test_the_floor_lies_below_every_float32_variance() -> None:
    smallest, largest = np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).max
    assert LOG10_FLOOR <= 2 * math.log10(smallest) < LOG10_FLOOR + 1
    assert LOG10_CEILING >= 2 * math.log10(largest) > LOG10_CEILING - 1


def test_lightnings_csv_logger_gets_the_scalars_on_its_own_steps(tmp_path: Path) -> None:
    from pytorch_lightning.loggers import CSVLogger

    logger = CSVLogger(str(tmp_path))
    records = [
        record(NET, {Quantity.VARIANCE: 10.0 ** (-step), Quantity.ABS_MAX: 4.0}, step=step) for step in (0, 1, 50)
    ]
    sink = LoggerSink()
    sink.open(Run(loggers=(logger,)))
    for one in records:
        sink.emit(one, (), NET)
    sink.close()
    logger.save()
    with (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [0, 1, 50]
    for row, one in zip(rows, records, strict=True):
        assert {tag: float(row[tag]) for tag in row if tag != "step"} == summary_scalars(one)


def test_a_logger_that_raises_is_dropped_after_one_warning_and_the_others_go_on() -> None:
    broken, before, after = Raises(), Remembers(), Remembers()
    sink = LoggerSink()
    sink.open(Run(loggers=(before, broken, after)))
    message = (
        "Raises could not log at step 0 (ConnectionError: server is gone); "
        "init_monitor sends it nothing more, everything else continues"
    )
    with pytest.warns(InitMonitorWarning) as caught:
        emit_steps(sink, 0, 1, 2)
    assert [str(one.message) for one in caught] == [message]
    assert broken.calls == 1
    expected = [(step, {"init_monitor_summary/abs_max/max": 1.0}) for step in range(3)]
    assert before.logged == after.logged == expected


def test_loggers_do_not_share_the_dictionary_they_are_given() -> None:
    class Greedy(Remembers):
        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            metrics.clear()

    kept = Remembers()
    sink = LoggerSink()
    sink.open(Run(loggers=(Greedy(), kept)))
    sink.emit(record(NET, {Quantity.ABS_MAX: 1.0}), (), NET)
    assert kept.logged[0][1]


def test_event_file_loggers_things_that_cannot_log_and_empty_steps_are_passed_by(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    class HasEvents(Remembers):
        experiment = SummaryWriter(str(tmp_path))

    with_events, plain = HasEvents(), Remembers()
    sink = LoggerSink()
    sink.open(Run(loggers=(with_events, object(), plain)))
    sink.emit(record(NET, {}), (), NET)
    assert plain.logged == []
    sink.emit(record(NET, {Quantity.ABS_MAX: 1.0}), (), NET)
    sink.close()
    sink.emit(record(NET, {Quantity.ABS_MAX: 1.0}), (), NET)
    HasEvents.experiment.close()
    assert (len(with_events.logged), len(plain.logged)) == (0, 1)


def test_the_run_store_keeps_what_was_emitted(tmp_path: Path) -> None:
    found = Finding("dead-relu", "IM301", Severity.WARNING, ("net.1",), 1, "Dead.")
    sink = RunStoreSink()
    sink.open(Run(log_dir=tmp_path, settings={"window": 256}, versions={"torch": "2.13"}))
    for step in range(3):
        sink.emit(record(NET, {Quantity.VARIANCE: 2.0}, step=step), (found,) if step == 1 else (), NET)
    sink.close()
    run = read_run(tmp_path)
    assert [one.step for one in run.records] == [0, 1, 2]
    assert (run.findings, run.structure, run.headers[0].settings) == ([found], NET, {"window": 256})


def test_two_fits_append_two_stretches(tmp_path: Path) -> None:
    sink = RunStoreSink()
    for step in (0, 1):
        sink.open(Run(log_dir=tmp_path))
        sink.emit(record(NET, {Quantity.VARIANCE: 2.0}, step=step), (), NET)
    sink.close()
    sink.close()
    assert len(read_run(tmp_path).headers) == 2


def test_without_a_log_directory_nothing_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sink = RunStoreSink()
    sink.open(Run())
    sink.emit(record(NET, {Quantity.VARIANCE: 2.0}), (), NET)
    sink.close()
    assert list(tmp_path.iterdir()) == []


def switched_off(sink: RunStoreSink, run: Run) -> str:
    with pytest.warns(InitMonitorWarning) as caught:
        sink.open(run)
    emit_steps(sink, 0, 1, 2)
    sink.close()
    (one,) = caught
    return str(one.message)


def test_a_log_directory_that_cannot_be_made_is_one_warning_with_path_and_cause(tmp_path: Path) -> None:
    # A file where the directory should be stops every user, also root, whom no permission stops.
    (tmp_path / "init_monitor").write_text("")
    message = switched_off(RunStoreSink(), Run(log_dir=tmp_path))
    assert message.startswith(f"the run cannot be stored in {run_file(tmp_path)} (File exists); ")
    assert message.endswith("the training and everything else continue")


def test_a_read_only_directory_is_one_warning_with_path_and_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(type(tmp_path), "mkdir", refuse)
    message = switched_off(RunStoreSink(), Run(log_dir=tmp_path))
    assert f"{run_file(tmp_path)} (Read-only file system)" in message


def test_a_foreign_file_in_its_place_is_left_alone_with_one_warning(tmp_path: Path) -> None:
    file = run_file(tmp_path)
    file.parent.mkdir()
    file.write_text("mine\n")
    assert "it is not a run of init_monitor" in switched_off(RunStoreSink(), Run(log_dir=tmp_path))
    assert file.read_text() == "mine\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full is a device of Linux")
def test_a_full_disk_in_the_middle_is_one_warning_and_the_rest_stays_readable(tmp_path: Path) -> None:
    sink = RunStoreSink()
    sink.open(Run(log_dir=tmp_path))
    sink.emit(record(NET, {Quantity.VARIANCE: 2.0}, step=0), (), NET)
    assert sink._writer is not None
    sink._writer._file.close()
    full: Any = open("/dev/full", "wb")  # noqa: PTH123, SIM115 - the sink closes it
    sink._writer._file = full
    with pytest.warns(InitMonitorWarning, match="No space left on device") as caught:
        emit_steps(sink, 1, 2)
    sink.close()
    assert len(caught) == 1
    assert full.closed
    assert [one.step for one in read_run(tmp_path).records] == [0]


def test_the_default_sinks_are_fresh_and_of_four_kinds() -> None:
    sinks, others = default_sinks(), default_sinks(quiet=True, per_layer_scalars=True)
    kinds = ["ConsoleSink", "TensorBoardSink", "LoggerSink", "RunStoreSink"]
    assert [type(sink).__name__ for sink in sinks] == kinds
    assert all(isinstance(sink, Sink) for sink in sinks)
    assert not set(map(id, sinks)) & set(map(id, others))
    assert [getattr(others[0], "quiet", None), getattr(others[1], "per_layer_scalars", None)] == [True, True]
    assert [getattr(table_of_contents, kind) for kind in kinds] == [type(sink) for sink in sinks]


def test_an_unknown_sink_is_answered_with_those_there_are() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'EmailSink'; it has ConsoleSink, LoggerSink, Run"):
        _ = table_of_contents.EmailSink  # type: ignore[attr-defined]


def test_without_loggers_and_directory_the_default_sinks_only_print(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for sink in default_sinks():
            sink.open(Run())
            sink.emit(record(NET, {Quantity.VARIANCE: 1.0, Quantity.COUNT: 8.0}), (), NET)
            sink.close()
    assert "no findings in 1 step" in capsys.readouterr().out


def test_importing_the_sinks_is_cheap_and_using_them_needs_no_torch() -> None:
    code = (
        "import sys, init_monitor.sinks as sinks;"
        "assert not {'rich', 'tensorboard', 'PIL', 'google.protobuf'} & set(sys.modules);"
        "sinks.default_sinks();"
        "print(*{'torch', 'lightning', 'pytorch_lightning', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
