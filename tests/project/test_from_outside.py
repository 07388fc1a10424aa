"""A quantity and a rule that the package does not know, in a real training: everybody who shows something shows them."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import tab_runs
import torch
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing import data_provider, event_accumulator, plugin_event_multiplexer
from tensorboard.plugins import base_plugin
from torch.utils.data import DataLoader, TensorDataset
from werkzeug.test import Client

from init_monitor import DEFAULT_RULES, Figure, Finding, InitMonitor, Severity
from init_monitor.display.quantity_docs import with_tables
from init_monitor.page.document import ShownRun, embedded
from init_monitor.page.payload import decoded
from init_monitor.records import Facts, Form, Heading, Of, Page, register, unregister
from init_monitor.records.quantities import Quantity
from init_monitor.sinks import ConsoleSink, LoggerSink, RunStoreSink, TensorBoardSink
from init_monitor.store import read_run
from init_monitor.tensorboard_plugin import loader
from init_monitor.tensorboard_plugin.plugin import InitMonitorPlugin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.records import History

MEASURES = Path(__file__).parents[2] / "docs" / "measures.md"

CREST = Facts(
    of=Of.LAYER,
    title="Crest factor",
    means="largest |x| over the root mean square",
    explains="How far the largest element stands out.",
    form=Form.LOG,
    centre=2.0,
    guides=((2.0, "as of uniform numbers"),),
    in_events=True,
    summary=("median", "log10_max"),
    compared="crest factor",
    pages=(Page.OVERVIEW,),
    chart=("Precision", "Crest factor"),
    heading=Heading("crest", gives_way=0),
    derive=lambda column: column("abs_max") / np.sqrt(column("mean_square")),
)


class HighCrest:
    """Fires on every layer whose largest element is more than thrice the root mean square."""

    code, name = "MY001", "high-crest"
    limit: ClassVar[float] = 3.0

    def judge(self, history: History) -> Iterator[Finding]:
        by_name = history.last.layer_table.by_name("crest")
        high = tuple(name for name, crest in by_name.items() if crest > self.limit)
        if high:
            seen = {"crest": Figure(max(by_name[name] for name in high))}
            said = f"The largest element stands out in {len(high)} layers."
            yield Finding(self.name, self.code, Severity.WARNING, high, history.last.step, said, seen)


class Done(NamedTuple):
    """A training that is over."""

    monitor: InitMonitor
    directory: Path
    printed: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    root, printed = tmp_path_factory.mktemp("outside"), io.StringIO()
    register("crest", CREST)
    monitor = InitMonitor(
        rules=(*DEFAULT_RULES, HighCrest()),
        sinks=[ConsoleSink(verbose=True), TensorBoardSink(custom_scalars=True), LoggerSink(), RunStoreSink()],
    )
    torch.manual_seed(0)
    inputs = torch.randn(128, 64)
    trainer = pl.Trainer(
        max_steps=4,
        accelerator="cpu",
        logger=[TensorBoardLogger(str(root), name="", version="run"), CSVLogger(str(root), name="", version="csv")],
        callbacks=[monitor],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    with contextlib.redirect_stdout(printed):
        trainer.fit(
            tab_runs.Learner(tab_runs.deep(depth=3), gain=2.0, rate=1e-3),
            DataLoader(TensorDataset(inputs, inputs[:, :4]), batch_size=32),
        )
    yield Done(monitor, root, printed.getvalue())
    unregister("crest")


def expected(done: Done) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Shape ``[layers, steps]``, from what was measured."""
    columns = [
        [layer.forward.abs_max / layer.forward.mean_square**0.5 for layer in record] for record in done.monitor.records
    ]
    return np.array(columns).T


def ask(done: Done, route: str, **query: str) -> bytes:
    """Ask the tab's backend as the browser does."""
    multiplexer = plugin_event_multiplexer.EventMultiplexer(
        tensor_size_guidance={"init_monitor": loader.SAMPLES}
    ).AddRunsFromDirectory(str(done.directory))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(done.directory))
    app = InitMonitorPlugin(base_plugin.TBContext(data_provider=provider)).get_plugin_apps()[route]
    response = Client(app).get(f"/data/plugin/init_monitor{route}?{urlencode(query)}")
    assert response.status_code == 200, response.get_data()
    content: bytes = response.get_data()
    return content


def test_the_record_has_the_quantity(done: Done) -> None:
    values = expected(done)
    assert values.shape == (7, 4)
    assert (values > 1).all()
    for record, column in zip(done.monitor.records, values.T, strict=True):
        np.testing.assert_array_equal(record.column(Quantity("crest")), column)
    assert done.monitor.records[0].layer_table.at("net.0", "crest") == values[0, 0]


def test_the_rule_is_heard_once_for_the_layers_it_names(done: Done) -> None:
    (found,) = [one for one in done.monitor.findings if one.code == "MY001"]
    assert found.layers == tuple(
        name
        for name, crest in zip(done.monitor.records[0].names, expected(done)[:, 0], strict=True)
        if crest > HighCrest.limit
    )


def test_the_console_shows_both(done: Done) -> None:
    header = next(line for line in done.printed.splitlines() if line.startswith("layer"))
    assert header.split()[-2:] == ["crest", "status"]
    row = next(line for line in done.printed.splitlines() if line.startswith("net.0"))
    assert f" {expected(done)[0, -1]:.3g} " in row  # the table is that of the last of few steps
    assert "MY001 high-crest" in done.printed
    assert "The largest element stands out" in done.printed


def test_the_event_file_has_vector_scalars_dashboard_and_finding(done: Done) -> None:
    events = event_accumulator.EventAccumulator(str(done.directory / "run"), size_guidance={"tensors": 0, "scalars": 0})
    events.Reload()
    vectors = [np.frombuffer(one.tensor_proto.tensor_content, "<f4") for one in events.Tensors("init_monitor/crest")]
    np.testing.assert_array_equal(np.stack(vectors, axis=1), expected(done).astype(np.float32))
    medians = [one.value for one in events.Scalars("init_monitor_summary/crest/median")]
    np.testing.assert_allclose(medians, np.median(expected(done), axis=0), rtol=1e-6)
    largest = [one.value for one in events.Scalars("init_monitor_summary/crest/log10_max")]
    np.testing.assert_allclose(largest, np.log10(expected(done).max(axis=0)), rtol=1e-6)
    layout = events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    assert b"Init Monitor: Precision" in layout
    assert b"init_monitor_summary/crest/(median|log10_max)" in layout
    findings = events.Tensors("init_monitor/findings")[-1].tensor_proto.string_val[0]
    assert b"MY001" in findings


def test_other_loggers_get_its_scalars(done: Done) -> None:
    logged = pd.read_csv(done.directory / "csv" / "metrics.csv")
    column = logged["init_monitor_summary/crest/median"].dropna().to_numpy()
    np.testing.assert_allclose(column, np.median(expected(done), axis=0), rtol=1e-6)


def test_the_tab_gets_its_words_and_its_numbers(done: Done) -> None:
    answer = json.loads(ask(done, "/runs"))
    (listed,) = [one for one in answer["quantities"] if one["id"] == "crest"]
    assert (listed["title"], listed["short"], listed["of"]) == ("Crest factor", "crest factor", "layers")
    assert (listed["palette"], listed["centre"], listed["pages"]) == ("diverging", 2.0, ["overview"])
    assert "crest" in next(one for one in answer["runs"] if one["name"] == "run")["quantities"]
    header, values = decoded(ask(done, "/series", run="run", quantity="crest"))
    assert header["names"] == list(done.monitor.records[0].names)
    np.testing.assert_array_equal(values, expected(done).astype(np.float32))


def test_a_tab_where_nobody_registered_it_learns_of_it_from_the_event_file(done: Done) -> None:
    """TensorBoard is another program: it has never seen the code that registered the quantity."""
    unregister("crest")
    try:
        answer = json.loads(ask(done, "/runs"))
        (listed,) = [one for one in answer["quantities"] if one["id"] == "crest"]
        assert (listed["title"], listed["explains"]) == ("Crest factor", "How far the largest element stands out.")
        assert (listed["palette"], listed["centre"], listed["pages"]) == ("diverging", 2.0, ["overview"])
        assert answer["quantities"][-1] is listed
        _, values = decoded(ask(done, "/series", run="run", quantity="crest"))
        np.testing.assert_array_equal(values, expected(done).astype(np.float32))
        assert "crest" in decoded(ask(done, "/layer", run="run", name="net.0"))[0]["quantities"]
    finally:
        register("crest", CREST)


def test_the_run_store_and_the_report_have_it(done: Done) -> None:
    run = read_run(done.directory / "run")
    assert [one.code for one in run.findings].count("MY001") == 1
    np.testing.assert_allclose(run.records[0].column(Quantity("crest")), expected(done)[:, 0], rtol=1e-8)
    report = done.monitor.report
    assert "| crest | status |" in report.to_markdown()
    assert "<th>crest</th>" in report.to_html()
    assert "crest" in json.loads(report.to_json())["layers"]["columns"]
    np.testing.assert_array_equal(report.to_dataframe()["crest"].to_numpy(), expected(done).T.ravel())
    page = embedded([ShownRun("run", run.records, run.findings, run.structure)])
    assert "crest" in page["series"]["run"]
    assert [one["title"] for one in page["quantities"] if one["id"] == "crest"] == ["Crest factor"]


def test_the_docs_have_a_row_for_it(done: Done) -> None:
    page = MEASURES.read_text(encoding="utf-8")
    row = "| `crest` | largest \\|x\\| over the root mean square |  | Overview, Layer, tables, scalars (median, log10_max) |"
    assert row not in page
    assert row in with_tables(page)
