"""The backend of the tab: what it makes of event files, whichever of TensorBoard's loaders reads them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
import pytest
import tab_runs
from builders import blocks, linears, record
from tensorboard import default
from tensorboard.backend.event_processing import data_provider, event_accumulator, plugin_event_multiplexer
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.data import server_ingester
from tensorboard.plugins import base_plugin
from tensorboard.plugins.custom_scalar import layout_pb2, metadata
from tensorboard.util import grpc_util
from torch.utils.tensorboard import SummaryWriter
from werkzeug.test import Client

from init_monitor.page.bundle import STATIC
from init_monitor.page.loss_line import SPARK_POINTS, loss_line
from init_monitor.page.payload import decoded
from init_monitor.page.run_verdict import run_verdict
from init_monitor.page.shown_finding import shown_finding
from init_monitor.records import Finding, LossCurve, LossStretch, Severity, settled
from init_monitor.records.quantities import (
    LAYER_VECTORS,
    LAYOUT_TAG,
    PARAMETER_VECTORS,
    PLUGIN_NAME,
    RESIDUAL_VECTORS,
    Quantity,
    vector_tag,
)
from init_monitor.sinks import Run, TensorBoardSink, events
from init_monitor.sinks.summary import summary_scalars
from init_monitor.tensorboard_plugin import loader
from init_monitor.tensorboard_plugin.plugin import InitMonitorPlugin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.records import Structure

ROOT = Path(__file__).parents[2]
VECTORS = (*LAYER_VECTORS, *PARAMETER_VECTORS)
ROUTE = "/data/plugin/init_monitor"


class Logger:
    """A logger as Lightning's looks from outside."""

    def __init__(self, directory: Path) -> None:
        self.experiment = SummaryWriter(str(directory))


def write(
    directory: Path,
    steps: Sequence[int],
    net: Structure,
    columns: dict[Quantity, Any],
) -> None:
    """Write a stretch of a run into a file of its own, as each start of a training does."""
    logger, sink = Logger(directory), TensorBoardSink()
    sink.open(Run(loggers=(logger,), log_dir=directory))
    for step in steps:
        sink.emit(record(net, columns, step=step), (), net)
    sink.close()
    logger.experiment.close()
    # The next file sorts after this one: its name begins with the second it was made in.
    time.sleep(1.1)


class Asked:
    """The plugin, asked as a browser asks it."""

    def __init__(self, provider: Any) -> None:
        self.apps = InitMonitorPlugin(base_plugin.TBContext(data_provider=provider)).get_plugin_apps()

    def get(self, route: str, **query: Any) -> Any:
        app = self.apps["/static/*" if route.startswith("/static/") else route]
        return Client(app).get(f"{ROUTE}{route}?{urlencode(query, doseq=True)}")

    def json(self, route: str, **query: Any) -> Any:
        response = self.get(route, **query)
        assert response.status_code == 200, response.get_data()
        return json.loads(response.get_data())

    def series(self, run: str, quantity: Quantity, **query: Any) -> tuple[dict[str, Any], Any]:
        response = self.get("/series", run=run, quantity=str(quantity), **query)
        assert response.status_code == 200, response.get_data()
        return decoded(response.get_data())


def python_loader(directory: Path) -> Any:
    multiplexer = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance={PLUGIN_NAME: loader.SAMPLES})
    multiplexer.AddRunsFromDirectory(str(directory))
    multiplexer.Reload()
    return data_provider.MultiplexerDataProvider(multiplexer, str(directory))


@contextmanager
def fast_loader(directory: Path, port_file: Path) -> Iterator[Any]:
    """The data server that TensorBoard starts beside itself, asked as TensorBoard asks it."""
    binary = server_ingester.get_server_binary().path
    words = ["--reload=1", f"--samples-per-plugin={PLUGIN_NAME}={loader.SAMPLES}", "--port=0"]
    server = subprocess.Popen([binary, f"--logdir={directory}", *words, f"--port-file={port_file}"])
    try:
        while not port_file.is_file() or not port_file.read_text():
            assert server.poll() is None
            time.sleep(0.05)
        ingester = server_ingester.ExistingServerDataIngester(
            f"localhost:{port_file.read_text().strip()}", channel_creds_type=grpc_util.ChannelCredsType.LOCAL
        )
        yield ingester.data_provider
    finally:
        server.kill()
        server.wait()


@pytest.fixture(params=["python loader", "fast loader"])
def ask(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A function that reads a log directory, once with each of TensorBoard's loaders."""
    with ExitStack() as servers:

        def asked(directory: Path) -> Asked:
            if request.param == "python loader":
                return Asked(python_loader(directory))
            port_file = tmp_path_factory.mktemp("server") / "port"
            reader = Asked(servers.enter_context(fast_loader(directory, port_file)))
            # It answers at once and reads on beside.
            before = None
            while not before or not json.loads(before)["runs"] or before != reader.get("/runs").get_data():
                before = reader.get("/runs").get_data()
                time.sleep(0.3)
            return reader

        yield asked


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A log directory that a real fit wrote, and the monitor that watched it."""
    directory = tmp_path_factory.mktemp("logs")
    monitor = tab_runs.fit(directory / "xavier", tab_runs.deep, 1.0, 12)
    return directory, monitor


# --- what the tab is told -------------------------------------------------------------------------------------------


def test_every_number_of_a_real_fit_arrives(real: tuple[Path, Any], ask: Any) -> None:
    directory, monitor = real
    reader, records = ask(directory), monitor.records
    assert len(records) > 5
    (entry,) = reader.json("/runs")["runs"]
    assert entry["name"] == "xavier"
    assert entry["step"] == records[-1].step
    assert {"variance", "gradient_variance", "dead_fraction", "update_ratio"} <= set(entry["quantities"])
    for quantity in map(Quantity, entry["quantities"]):
        header, values = reader.series("xavier", quantity)
        names = records[0].names if quantity in LAYER_VECTORS else records[0].parameter_names
        assert header["names"] == list(names)
        assert header["steps"] == [one.step for one in records]
        expected = np.stack([one.column(quantity) for one in records], axis=1).astype(np.float32)
        np.testing.assert_array_equal(values, expected, err_msg=str(quantity))


def test_the_outline_of_a_real_fit_has_its_layers_and_findings(real: tuple[Path, Any], ask: Any) -> None:
    directory, monitor = real
    outline = ask(directory).json("/run", run="xavier")
    assert outline["names"] == list(monitor.structure.names)
    assert [one["kind"] for one in outline["layers"]] == [one.kind for one in monitor.structure.layers]
    assert outline["findings"] == [json.loads(json.dumps(shown_finding(one))) for one in monitor.findings]
    assert monitor.findings
    assert outline["looked"] is True
    assert outline["notices"] == []


def test_the_list_of_runs_says_how_bad_a_real_fit_is_and_what_was_found_first(real: tuple[Path, Any], ask: Any) -> None:
    directory, monitor = real
    (entry,) = ask(directory).json("/runs")["runs"]
    verdict, found = entry["verdict"], settled(monitor.findings)
    assert verdict["looked"] is True
    assert verdict["counts"] == {
        severity: sum(str(one.severity) == severity for one in found) for severity in ("critical", "warning", "info")
    }
    worst = max(one.severity for one in found)
    first = min((one for one in found if one.severity == worst), key=lambda one: one.step)
    said = {key: verdict["first"][key] for key in ("code", "rule", "severity", "step", "message", "layers")}
    assert said == {
        "code": first.code,
        "rule": first.rule,
        "severity": str(first.severity),
        "step": first.step,
        "message": first.message,
        "layers": list(first.layers),
    }


def test_the_loss_of_a_run_comes_small_and_whole(real: tuple[Path, Any], ask: Any) -> None:
    directory, monitor = real
    reader = ask(directory)
    (line,) = reader.json("/losses").values()
    assert line == reader.json("/losses", run="xavier")["xavier"] == reader.json("/run", run="xavier")["losses"]
    assert line["steps"] == monitor.loss_steps.tolist()
    np.testing.assert_allclose(line["values"], monitor.losses, rtol=1e-6)
    assert reader.json("/losses", run="nowhere") == {}


@pytest.mark.parametrize(
    ("severities", "worst"),
    [((), None), (("info",), "info"), (("info", "critical", "warning", "critical"), "critical")],
    ids=str,
)
def test_a_verdict_names_the_first_of_the_worst(severities: tuple[str, ...], worst: str | None) -> None:
    found = [
        Finding("rule", f"IM{i}", Severity(severity), (f"net.{i}",), 10 - i, "…")
        for i, severity in enumerate(severities)
    ]
    verdict = run_verdict(found, looked=True)
    assert sum(verdict["counts"].values()) == len(severities)
    if worst is None:
        assert verdict["first"] is None
    else:
        step = min(one.step for one in found if one.severity == worst)
        assert (verdict["first"]["severity"], verdict["first"]["step"]) == (worst, step)


def test_a_long_loss_is_thinned_to_a_small_curve_without_losing_an_extreme() -> None:
    values = np.full(10_000, 2.0, np.float32)
    values[1234], values[7000], values[-1] = 9.0, np.nan, 0.5
    curve = LossCurve()
    curve.add(LossStretch(np.arange(10_000), values))
    spark = loss_line(curve, SPARK_POINTS)
    assert spark is not None
    assert len(spark["steps"]) <= SPARK_POINTS
    assert {0, 9_999, 7_000, 1_234} <= set(spark["steps"])
    assert {9.0, 0.5, "NaN"} <= set(spark["values"])


def test_nan_and_infinities_survive(tmp_path: Path, ask: Any) -> None:
    column = [math.nan, math.inf, -math.inf]
    write(tmp_path / "run", [0], linears(3), {Quantity.MEAN: column})
    _, values = ask(tmp_path).series("run", Quantity.MEAN)
    np.testing.assert_array_equal(values[:, 0], np.array(column, dtype=np.float32))


def test_of_a_step_that_was_written_twice_the_last_counts(tmp_path: Path, ask: Any) -> None:
    logger, sink = Logger(tmp_path / "run"), TensorBoardSink()
    sink.open(Run(loggers=(logger,)))
    for step, value in ((0, 1.0), (1, 2.0), (1, 3.0), (2, 4.0)):
        sink.emit(record(linears(2), {Quantity.VARIANCE: value}, step=step), (), linears(2))
    sink.close()
    logger.experiment.close()
    header, values = ask(tmp_path).series("run", Quantity.VARIANCE)
    assert header["steps"] == [0, 1, 2]
    assert values[0].tolist() == [1.0, 3.0, 4.0]


def test_a_resumed_run_continues_where_it_was_resumed(tmp_path: Path, ask: Any) -> None:
    write(tmp_path / "run", [0, 10, 20, 30], linears(2), {Quantity.VARIANCE: 1.0})
    write(tmp_path / "run", [20, 30, 40], linears(2), {Quantity.VARIANCE: 2.0})
    header, values = ask(tmp_path).series("run", Quantity.VARIANCE)
    assert header["steps"] == [0, 10, 20, 30, 40]
    assert values[0].tolist() == [1.0, 1.0, 2.0, 2.0, 2.0]


def test_runs_are_ordered_as_a_person_counts(tmp_path: Path, ask: Any) -> None:
    for k in (10, 9, 2):
        logger, sink = Logger(tmp_path / f"version_{k}"), TensorBoardSink()
        sink.open(Run(loggers=(logger,)))
        sink.emit(record(linears(1), {Quantity.VARIANCE: 1.0}), (), linears(1))
        sink.close()
        logger.experiment.close()
    names = [one["name"] for one in ask(tmp_path).json("/runs")["runs"]]
    assert names == ["version_2", "version_9", "version_10"]


def test_layers_may_come_and_go(tmp_path: Path, ask: Any) -> None:
    logger, sink = Logger(tmp_path / "run"), TensorBoardSink()
    sink.open(Run(loggers=(logger,)))
    for step, count in enumerate((3, 2, 4)):
        net = linears(count)
        one = record(net, {Quantity.VARIANCE: np.arange(count) + 10.0 * step}, step=step)
        # A layout belongs to the numbers of its time: these events are seconds apart, as sampled steps are.
        sink.emit(dataclasses.replace(one, time=1e9 + step), (), net)
    sink.close()
    logger.experiment.close()
    header, values = ask(tmp_path).series("run", Quantity.VARIANCE)
    assert header["names"] == ["net.0", "net.1", "net.2", "net.3"]
    nan = math.nan
    expected = [[0, 10, 20], [1, 11, 21], [2, nan, 22], [nan, nan, 23]]
    np.testing.assert_array_equal(values, np.array(expected, dtype=np.float32))


def test_a_run_that_was_resumed_with_another_network_keeps_both(tmp_path: Path, ask: Any) -> None:
    write(tmp_path / "run", [0, 1, 2, 3], linears(2), {Quantity.VARIANCE: [1.0, 2.0]})
    write(tmp_path / "run", [2, 3], linears(3), {Quantity.VARIANCE: [5.0, 6.0, 7.0]})
    header, values = ask(tmp_path).series("run", Quantity.VARIANCE)
    assert header["steps"] == [0, 1, 2, 3]
    assert header["names"] == ["net.0", "net.1", "net.2"]
    expected = np.array([[1, 1, 5, 5], [2, 2, 6, 6], [math.nan, math.nan, 7, 7]], dtype=np.float32)
    np.testing.assert_array_equal(values, expected)


def test_tensors_of_another_plugin_under_our_tag_are_not_ours(tmp_path: Path, ask: Any) -> None:
    write(tmp_path / "ours", [0], linears(2), {Quantity.VARIANCE: 1.0})
    writer = SummaryWriter(str(tmp_path / "theirs"))
    value = events.vector(vector_tag(Quantity.VARIANCE), np.ones(2), "layers", first=True)
    value.metadata.plugin_data.plugin_name = "somebody_else"
    writer._get_file_writer().add_summary(Summary(value=[value]), global_step=0)
    writer.close()
    assert [run["name"] for run in ask(tmp_path).json("/runs")["runs"]] == ["ours"]


def test_what_has_our_name_but_not_our_form_is_left_out_and_said(tmp_path: Path, ask: Any) -> None:
    writer = SummaryWriter(str(tmp_path / "run"))
    tag = vector_tag(Quantity.VARIANCE)
    layout = events.document(LAYOUT_TAG, {"names": 7}, "layout", first=True)
    text = events.text(tag, "not a vector", first=True)
    text.metadata.plugin_data.plugin_name = PLUGIN_NAME
    good = events.vector(vector_tag(Quantity.MEAN), np.array([1.0, 2.0]), "layers", first=True)
    writer._get_file_writer().add_summary(Summary(value=[layout, text, good]), global_step=0)
    other = events.text(LAYOUT_TAG, "{broken", first=False)
    newer = events.text(LAYOUT_TAG, json.dumps({"v": 99}), first=False)
    writer._get_file_writer().add_summary(Summary(value=[other]), global_step=1)
    writer._get_file_writer().add_summary(Summary(value=[newer]), global_step=2)
    writer.close()
    reader = ask(tmp_path)
    header, values = reader.series("run", Quantity.VARIANCE)
    assert header["names"] == []
    assert values.size == 0
    assert reader.series("run", Quantity.MEAN)[0]["names"] == ["[0]", "[1]"]
    notices = reader.json("/run", run="run")["notices"]
    assert any("was not written by init_monitor" in one for one in notices)
    assert any("format 99" in one for one in notices)


def test_a_run_without_numbers_says_so_in_words(tmp_path: Path, ask: Any) -> None:
    writer = SummaryWriter(str(tmp_path / "run"))
    layout = events.document(LAYOUT_TAG, {"names": ["a"], "layers": []}, "layout", first=True)
    writer._get_file_writer().add_summary(Summary(value=[layout]), global_step=0)
    writer.close()
    outline = ask(tmp_path).json("/run", run="run")
    assert outline["quantities"] == []
    assert outline["notices"] == ["No numbers have been written yet: they appear after the first sampled step."]


def test_a_layer_comes_with_its_parameters_over_all_steps(real: tuple[Path, Any], ask: Any) -> None:
    directory, monitor = real
    response = ask(directory).get("/layer", run="xavier", name=["net.4", "net.4.weight"])
    header, values = decoded(response.get_data())
    rows = dict(zip(zip(header["quantities"], header["names"], strict=True), values, strict=True))
    for quantity, name in (("variance", "net.4"), ("update_ratio", "net.4.weight")):
        at = (monitor.records[0].names + monitor.records[0].parameter_names).index(name)
        column = [
            np.concatenate((one.columns[Quantity.VARIANCE], one.parameter_columns[Quantity.UPDATE_RATIO]))[at]
            for one in monitor.records
        ]
        np.testing.assert_array_equal(rows[quantity, name], np.array(column, dtype=np.float32))


@pytest.mark.parametrize(
    ("route", "query", "words"),
    [
        ("/run", {"run": "nobody"}, "There is no run 'nobody'"),
        ("/series", {"run": "run", "quantity": "beauty"}, "There is no quantity 'beauty'; expected one of mean, "),
        ("/layer", {}, "There is no run ''"),
    ],
)
def test_what_does_not_exist_is_answered_in_words(
    route: str, query: dict[str, str], words: str, tmp_path: Path
) -> None:
    write(tmp_path / "run", [0], linears(2), {Quantity.VARIANCE: 1.0})
    response = Asked(python_loader(tmp_path)).get(route, **query)
    assert response.status_code == 404
    assert words in json.loads(response.get_data())["error"]


def test_static_files_are_served_and_nothing_beside_them(tmp_path: Path) -> None:
    reader = Asked(python_loader(tmp_path))
    for file in STATIC.iterdir():
        response = reader.get(f"/static/{file.name}")
        assert response.get_data() == file.read_bytes()
        assert response.content_type.startswith("text/css" if file.suffix == ".css" else "text/javascript")
    for name in ("../plugin.py", "..%2Fplugin.py", "plugin.py", ""):
        assert reader.get(f"/static/{name}").status_code == 404


def test_a_run_that_grows_is_read_again(tmp_path: Path) -> None:
    logger, sink = Logger(tmp_path / "run"), TensorBoardSink()
    sink.open(Run(loggers=(logger,)))
    multiplexer = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance={PLUGIN_NAME: 100})
    reader = Asked(data_provider.MultiplexerDataProvider(multiplexer, str(tmp_path)))
    for step in range(3):
        sink.emit(record(linears(2), {Quantity.VARIANCE: float(step)}, step=step), (), linears(2))
        logger.experiment.flush()
        multiplexer.AddRunsFromDirectory(str(tmp_path))
        multiplexer.Reload()
        assert reader.series("run", Quantity.VARIANCE)[1][0].tolist() == [float(i) for i in range(step + 1)]
    sink.close()
    logger.experiment.close()


# --- TensorBoard itself ---------------------------------------------------------------------------------------------


def test_the_package_declares_the_plugin() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = '[project.entry-points.tensorboard_plugins]\ninit_monitor = "init_monitor.tensorboard_plugin.loader:InitMonitorLoader"'
    assert declared in project
    assert loader.PLUGIN_NAME == PLUGIN_NAME


def test_the_loader_raises_the_number_of_steps_but_not_above_the_users_wish() -> None:
    def fixed(given: Any) -> Any:
        flags = argparse.Namespace(samples_per_plugin=given)
        loader.InitMonitorLoader().fix_flags(flags)
        return flags.samples_per_plugin

    assert fixed({}) == {"init_monitor": loader.SAMPLES}
    assert fixed({"init_monitor": 3, "text": 4}) == {"init_monitor": 3, "text": 4}
    assert fixed(None) == {"init_monitor": loader.SAMPLES}


@pytest.mark.parametrize("flags", [object(), argparse.Namespace(samples_per_plugin=7)])
def test_flags_of_another_tensorboard_do_not_stop_it(flags: Any) -> None:
    loader.InitMonitorLoader().fix_flags(flags)


def _starts(directory: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Let TensorBoard find the plugin as it does: by the entry point of an installed package."""
    distribution = site / "init_monitor_of_the_test-1.0.dist-info"
    distribution.mkdir(parents=True)
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: init-monitor-of-the-test\nVersion: 1.0\n")
    (distribution / "entry_points.txt").write_text(
        "[tensorboard_plugins]\ninit_monitor = init_monitor.tensorboard_plugin.loader:InitMonitorLoader\n"
    )
    code = (
        "import sys\n"
        # Another installed copy of this very package would bring the plugin a second time.
        "from tensorboard import default, program\n"
        "found = {point.value: point for point in default._iter_entry_points('tensorboard_plugins')}\n"
        "default._iter_entry_points = lambda group: found.values()\n"
        "board = program.TensorBoard(plugins=default.get_plugins())\n"
        f"board.configure(logdir={str(directory)!r}, load_fast='false')\n"
        "from tensorboard.backend import application\n"
        "from tensorboard.backend.event_processing import data_ingester\n"
        "ingester = data_ingester.LocalDataIngester(board.flags)\n"
        "app = application.TensorBoardWSGIApp(board.flags, board.plugin_loaders, ingester.data_provider,\n"
        "    board.assets_zip_provider, ingester.deprecated_multiplexer)\n"
        "from werkzeug.test import Client\n"
        "listing = Client(app).get('/data/plugins_listing').get_json()\n"
        "print('TAB', 'init_monitor' in listing, 'scalars' in listing, 'torch' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(site), str(ROOT)))}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment, cwd=directory
    )


def test_tensorboard_finds_the_tab_and_imports_no_torch(tmp_path: Path) -> None:
    done = _starts(tmp_path, tmp_path / "site")
    assert "TAB True True False" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "broken",
    ["page/series.py", "tensorboard_plugin/plugin.py", "records/quantities.py"],
)
def test_a_broken_install_never_stops_tensorboard(broken: str, tmp_path: Path) -> None:
    site = tmp_path / "site"
    package = site / "init_monitor"
    for file in (ROOT / "init_monitor").rglob("*.py"):
        copy = package / file.relative_to(ROOT / "init_monitor")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    (package / broken).write_text("raise ImportError('half of the files are missing')\n")
    done = _starts(tmp_path, site)
    assert "TAB False True False" in done.stdout, done.stderr
    assert "there is no Init Monitor tab: the installation of init-monitor is broken" in done.stderr
    assert "half of the files are missing" in done.stderr


def test_the_plugin_without_a_data_provider_answers_in_words(tmp_path: Path) -> None:
    response = Asked(None).get("/runs")
    assert "without a data provider" in json.loads(response.get_data())["error"]


def test_the_static_plugins_of_this_tensorboard_do_not_have_our_name() -> None:
    names = {getattr(one, "plugin_name", None) for one in default.get_static_plugins()}
    assert PLUGIN_NAME not in names


# --- without the tab ------------------------------------------------------------------------------------------------


def test_the_custom_scalars_dashboard_is_opt_in_and_shows_scalars_that_exist(tmp_path: Path) -> None:
    columns: dict[Quantity, Any] = dict.fromkeys((*VECTORS, *RESIDUAL_VECTORS), 0.5)
    one = record(blocks(2), columns)
    for opted in (False, True):
        logger, sink = Logger(tmp_path / str(opted)), TensorBoardSink(custom_scalars=opted)
        sink.open(Run(loggers=(logger,)))
        for step in range(3):
            sink.emit(dataclasses.replace(one, step=step), (), blocks(2))
        sink.close()
        logger.experiment.close()
    reader = event_accumulator.EventAccumulator(str(tmp_path / "False")).Reload()
    assert metadata.CONFIG_SUMMARY_TAG not in reader.Tags()["tensors"]
    reader = event_accumulator.EventAccumulator(str(tmp_path / "True")).Reload()
    (written,) = reader.Tensors(metadata.CONFIG_SUMMARY_TAG)
    layout = layout_pb2.Layout.FromString(written.tensor_proto.string_val[0])
    patterns = [tag for category in layout.category for chart in category.chart for tag in chart.multiline.tag]
    assert len(patterns) == 8
    tags = summary_scalars(one, blocks(2))
    assert [pattern for pattern in patterns if not any(re.search(pattern, tag) for tag in tags)] == []
