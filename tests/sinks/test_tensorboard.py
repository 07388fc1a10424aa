"""What TensorBoard's own readers find in the event files is what was measured."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import linears, record
from hypothesis import given, strategies as st
from PIL import Image
from tensorboard.backend.event_processing import (
    data_provider,
    event_accumulator,
    event_file_loader,
    plugin_event_multiplexer,
)
from tensorboard.context import RequestContext
from tensorboard.util import tensor_util
from torch.utils.tensorboard import SummaryWriter

from init_monitor.display.colormap import ANCHORS, colours
from init_monitor.display.heatmap import heatmap
from init_monitor.display.history_buffer import Trace
from init_monitor.display.markdown import finding_markdown
from init_monitor.errors import InitMonitorWarning
from init_monitor.records import Figure, Finding, LossStretch, Severity, StepRecord, Table
from init_monitor.records.quantities import (
    FINDINGS_TAG,
    LAYER_VECTORS,
    LAYOUT_TAG,
    PARAMETER_VECTORS,
    Quantity,
    vector_tag,
)
from init_monitor.records.tags import scalar_tag
from init_monitor.sinks import Run, TensorBoardSink
from init_monitor.sinks.headlines import HEADLINES
from init_monitor.sinks.summary import summary_scalars
from init_monitor.store import finding_json, structure_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NET = linears(3)
VECTORS = (*LAYER_VECTORS, *PARAMETER_VECTORS)
TENSOR_DATA_CLASS = 2


class Logger:
    """A logger as Lightning's looks from outside: an experiment with an event writer."""

    def __init__(self, log_dir: Path) -> None:
        self.experiment = SummaryWriter(str(log_dir))


def finding(code: str = "IM101", **changes: Any) -> Finding:
    made = Finding(
        rule="exploding-activations",
        code=code,
        severity=Severity.CRITICAL,
        layers=("net.0", "net.1"),
        step=0,
        message="Grows *fast* | 512 ×.",
        evidence={"growth": Figure(512.0, "×")},
        expected={"growth": Figure(1.0, "×")},
        remedy="Use He.\n\nnn.init.kaiming_normal_(w)",
        source="He et al. 2015",
    )
    return dataclasses.replace(made, **changes)


def measured(step: int, seed: int = 0) -> StepRecord:
    """Every quantity that goes to TensorBoard, over many orders of magnitude; with NaN and infinities."""
    rng = np.random.default_rng(seed + step)
    columns: dict[Quantity, Any] = {q: 10.0 ** rng.uniform(-30, 30, 3) for q in VECTORS}
    columns[Quantity.MEAN] = np.array([math.nan, math.inf, -math.inf])
    return dataclasses.replace(record(NET, columns, step=step), time=1e9 + step)


def play(
    sink: TensorBoardSink, log_dir: Path, records: Sequence[StepRecord], found: dict[int, Any] | None = None
) -> None:
    logger = Logger(log_dir)
    sink.open(Run(loggers=(logger,), log_dir=log_dir))
    for one in records:
        sink.emit(one, (found or {}).get(one.step, ()), NET)
    sink.close()
    logger.experiment.close()


def raw_events(log_dir: Path) -> list[Any]:
    """Every event that holds a summary, exactly as written."""
    events: list[Any] = []
    for file in sorted(log_dir.glob("events.*")):
        for content in event_file_loader.RawEventFileLoader(str(file)).Load():
            event = event_file_loader.event_pb2.Event.FromString(content)
            if event.HasField("summary"):
                events.append(event)
    return events


def accumulated(log_dir: Path) -> Any:
    everything = dict.fromkeys(("tensors", "scalars", "images"), 0)
    reader = event_accumulator.EventAccumulator(str(log_dir), size_guidance=everything)
    return reader.Reload()


def documents(events: list[Any], tag: str) -> list[tuple[int, dict[str, Any]]]:
    def refuse(token: str) -> None:
        message = f"{token} is not strict JSON"
        raise AssertionError(message)

    return [
        (event.step, json.loads(value.tensor.string_val[0], parse_constant=refuse))
        for event in events
        for value in event.summary.value
        if value.tag == tag
    ]


def test_tensorboards_reader_finds_the_float32_of_every_number(tmp_path: Path) -> None:
    records = [measured(step) for step in (0, 1, 50)]
    play(TensorBoardSink(), tmp_path, records)
    reader = accumulated(tmp_path)
    for quantity in VECTORS:
        tensors = reader.Tensors(vector_tag(quantity))
        assert [one.step for one in tensors] == [0, 1, 50]
        assert [one.wall_time for one in tensors] == [1e9, 1e9 + 1, 1e9 + 50]
        for one, wrote in zip(tensors, records, strict=True):
            read = tensor_util.make_ndarray(one.tensor_proto)
            np.testing.assert_array_equal(read, wrote.column(quantity).astype(np.float32), err_msg=str(quantity))


def test_what_float32_cannot_hold_becomes_infinity(tmp_path: Path) -> None:
    play(TensorBoardSink(), tmp_path, [record(NET, {Quantity.VARIANCE: [1e60, 1e-60, 1.0]})])
    (tensor,) = accumulated(tmp_path).Tensors(vector_tag(Quantity.VARIANCE))
    assert tensor_util.make_ndarray(tensor.tensor_proto).tolist() == [math.inf, 0.0, 1.0]


def test_a_sampled_step_is_one_event(tmp_path: Path) -> None:
    play(TensorBoardSink(), tmp_path, [measured(step) for step in range(4)], {2: (finding(),)})
    steps = [event.step for event in raw_events(tmp_path)]
    # The last one holds the pictures.
    assert steps == [0, 1, 2, 3, 3]


def test_metadata_is_on_the_first_value_of_a_tag_only(tmp_path: Path) -> None:
    play(TensorBoardSink(), tmp_path, [measured(0), measured(1)], {0: (finding(),), 1: (finding("IM102"),)})
    metadata: dict[str, list[Any]] = {}
    for event in raw_events(tmp_path):
        for value in event.summary.value:
            metadata.setdefault(value.tag, []).append(value.metadata if value.HasField("metadata") else None)
    for tag, kind in (
        (vector_tag(Quantity.VARIANCE), "layers"),
        (vector_tag(Quantity.UPDATE_RATIO), "parameters"),
        (FINDINGS_TAG, "findings"),
    ):
        first, second = metadata[tag]
        assert second is None
        assert first.plugin_data.plugin_name == "init_monitor"
        assert json.loads(first.plugin_data.content) == {"v": 1, "kind": kind}
        assert first.data_class == TENSOR_DATA_CLASS
    for code in ("IM101", "IM102"):
        (only,) = metadata[f"init_monitor_findings/1_critical/{code}_exploding-activations"]
        assert only.plugin_data.plugin_name == "text"


def test_the_layout_is_written_when_names_or_structure_change(tmp_path: Path) -> None:
    logger, other = Logger(tmp_path), linears(2)
    sink = TensorBoardSink()
    sink.open(Run(loggers=(logger,)))
    for step, structure in enumerate((NET, NET, other, other, NET)):
        sink.emit(record(structure, {Quantity.VARIANCE: 1.0}, step=step), (), structure)
    sink.close()
    logger.experiment.close()
    layouts = documents(raw_events(tmp_path), LAYOUT_TAG)
    assert [step for step, _ in layouts] == [0, 2, 4]
    parameters = [layer.weight for layer in NET.layers]
    expected = {
        "v": 1,
        "names": list(NET.names),
        "parameter_names": parameters,
        "residual_names": [],
        **structure_json(NET),
    }
    assert layouts[0][1] == layouts[2][1] == json.loads(json.dumps(expected))


def test_all_findings_so_far_are_written_when_there_is_a_new_one(tmp_path: Path) -> None:
    one, two = finding(evidence={"growth": Figure(math.inf)}), finding("IM102")
    play(TensorBoardSink(), tmp_path, [measured(step) for step in range(4)], {1: (one,), 3: (two,)})
    found = documents(raw_events(tmp_path), FINDINGS_TAG)
    assert [step for step, _ in found] == [0, 1, 3]
    assert [content["findings"] for _, content in found] == [
        [],
        [finding_json(one)],
        [finding_json(one), finding_json(two)],
    ]


def texts(log_dir: Path) -> dict[str, list[tuple[int, str]]]:
    """The entries of the Text tab by tag, in the order in which the tab shows them."""
    reader = accumulated(log_dir)
    tags = sorted(tag for tag in reader.Tags()["tensors"] if tag.startswith("init_monitor_findings"))
    return {
        tag.removeprefix("init_monitor_findings/"): [
            (one.step, tensor_util.make_ndarray(one.tensor_proto).item().decode()) for one in reader.Tensors(tag)
        ]
        for tag in tags
    }


def test_each_finding_is_one_entry_of_the_text_tab_worst_first(tmp_path: Path) -> None:
    aside = finding("IM701", rule="input-scale", severity=Severity.INFO)
    loud = finding("IM303", rule="saturation", severity=Severity.WARNING)
    worst = finding("IM604", rule="standstill")
    again = finding("IM604", rule="standstill", layers=("net.2",), step=3)
    found = {0: (aside,), 1: (loud,), 3: (worst, again)}
    play(TensorBoardSink(), tmp_path, [measured(step) for step in range(5)], found)
    assert texts(tmp_path) == {
        "1_critical/IM604_standstill": [(3, finding_markdown(worst))],
        "1_critical/IM604_standstill_2": [(3, finding_markdown(again))],
        "2_warning/IM303_saturation": [(1, finding_markdown(loud))],
        "3_info/IM701_input-scale": [(0, finding_markdown(aside))],
    }


def test_an_entry_that_was_taken_back_says_so_and_is_not_written_again(tmp_path: Path) -> None:
    loud = finding("IM303", rule="saturation", severity=Severity.WARNING)
    back = dataclasses.replace(
        loud, severity=Severity.INFO, step=2, message="Left *behind*.", evidence={"taken_back": Figure(0)}
    )
    play(TensorBoardSink(), tmp_path, [measured(step) for step in range(5)], {0: (loud,), 2: (back,)})
    told = "### IM303 saturation: taken back\n\nThis no longer holds: Left \\*behind\\*."
    assert texts(tmp_path) == {
        "2_warning/IM303_saturation": [(0, finding_markdown(loud)), (2, told)],
        "3_info/IM303_saturation": [(2, finding_markdown(back))],
    }


def test_what_a_resumed_run_knew_is_in_its_text_tab(tmp_path: Path) -> None:
    logger, sink = Logger(tmp_path), TensorBoardSink()
    sink.open(Run(loggers=(logger,), findings=(finding(),)))
    for step in (100, 101):
        sink.emit(measured(step), (), NET)
    sink.close()
    logger.experiment.close()
    assert texts(tmp_path) == {"1_critical/IM101_exploding-activations": [(100, finding_markdown(finding()))]}


def test_the_summary_scalars_are_plain_scalars(tmp_path: Path) -> None:
    records = [measured(0), measured(1)]
    play(TensorBoardSink(all_scalars=True), tmp_path, records)
    reader = accumulated(tmp_path)
    expected = summary_scalars(records[1])
    assert set(reader.Tags()["scalars"]) == set(expected)
    for tag, value in expected.items():
        assert reader.Scalars(tag)[1].value == np.float32(value), tag
        assert reader.Scalars(tag)[1].step == 1


def test_time_series_gets_one_group_of_at_most_eight_scalars_unless_all_are_asked_for(tmp_path: Path) -> None:
    columns: dict[Quantity, Any] = dict.fromkeys(Quantity, 0.5)
    net = linears(3)
    one = dataclasses.replace(
        record(net, columns, step=0), losses=LossStretch(np.array([0]), np.array([2.0], np.float32))
    )
    for name, options in (("few", {}), ("all", {"all_scalars": True}), ("charts", {"custom_scalars": True})):
        play(TensorBoardSink(**options), tmp_path / name, [one])
    few, every, charts = (set(accumulated(tmp_path / name).Tags()["scalars"]) for name in ("few", "all", "charts"))
    assert few < every == charts
    assert len(few) <= 8
    assert {tag.split("/")[0] for tag in few} == {"init_monitor_summary"}
    assert {"init_monitor_summary/loss", "init_monitor_summary/variance/log10_max"} < few
    assert {scalar_tag(quantity, statistic) for quantity, statistic in HEADLINES} >= few - {"init_monitor_summary/loss"}


@pytest.mark.parametrize(("quantity", "statistic"), HEADLINES, ids=str)
def test_every_default_scalar_is_one_of_the_summary(quantity: Quantity, statistic: str) -> None:
    assert statistic in quantity.facts.summary


def test_per_layer_scalars_are_opt_in(tmp_path: Path) -> None:
    one = record(NET, {Quantity.VARIANCE: [1.0, 2.0, math.nan], Quantity.UPDATE_RATIO: 0.5})
    play(TensorBoardSink(), tmp_path / "without", [one])
    play(TensorBoardSink(per_layer_scalars=True), tmp_path / "with", [one])
    without, with_them = (set(accumulated(tmp_path / name).Tags()["scalars"]) for name in ("without", "with"))
    assert with_them - without == {
        "init_monitor_layers/variance/net.0",
        "init_monitor_layers/variance/net.1",
        *(f"init_monitor_layers/update_ratio/net.{i}.weight" for i in range(3)),
    }
    assert accumulated(tmp_path / "with").Scalars("init_monitor_layers/variance/net.1")[0].value == 2.0


def test_a_quantity_without_numbers_gets_no_tag_until_it_has_one(tmp_path: Path) -> None:
    nothing, some = {Quantity.SATURATED_FRACTION: math.nan}, {Quantity.SATURATED_FRACTION: [math.nan, 0.5, math.nan]}
    columns: tuple[dict[Quantity, Any], ...] = (nothing, some, nothing)
    records = [record(NET, one, step=step) for step, one in enumerate(columns)]
    play(TensorBoardSink(), tmp_path, records)
    assert [one.step for one in accumulated(tmp_path).Tensors(vector_tag(Quantity.SATURATED_FRACTION))] == [1, 2]


def test_the_pictures_come_at_the_end_of_the_run(tmp_path: Path) -> None:
    play(TensorBoardSink(), tmp_path, [measured(step) for step in (0, 1, 99)])
    reader = accumulated(tmp_path)
    assert set(reader.Tags()["images"]) == {
        "init_monitor_heatmap/variance",
        "init_monitor_heatmap/gradient_variance",
    }
    (shown,) = reader.Images("init_monitor_heatmap/variance")
    picture = Image.open(io.BytesIO(shown.encoded_image_string))
    assert (shown.step, shown.width, shown.height) == (99, *picture.size) == (99, 900, 500)


def test_a_run_without_gradients_has_one_picture_and_one_without_records_none(tmp_path: Path) -> None:
    play(TensorBoardSink(), tmp_path / "a", [record(NET, {Quantity.VARIANCE: 1.0})])
    play(TensorBoardSink(), tmp_path / "b", [])
    play(TensorBoardSink(), tmp_path / "c", [record(NET, {Quantity.GAIN: 1.0})])
    assert accumulated(tmp_path / "a").Tags()["images"] == ["init_monitor_heatmap/variance"]
    assert raw_events(tmp_path / "b") == []
    assert accumulated(tmp_path / "c").Tags()["images"] == []


def test_tensorboards_data_provider_serves_the_vectors_to_the_plugin(tmp_path: Path) -> None:
    records = [measured(step) for step in range(30)]
    play(TensorBoardSink(), tmp_path / "run", records, {3: (finding(),)})
    multiplexer = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance={"init_monitor": 0})
    multiplexer.AddRunsFromDirectory(str(tmp_path))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(tmp_path))
    asked = {"experiment_id": "", "plugin_name": "init_monitor"}
    tags = provider.list_tensors(RequestContext(), **asked)["run"]
    assert set(tags) == {*(vector_tag(quantity) for quantity in VECTORS), LAYOUT_TAG, FINDINGS_TAG}
    assert json.loads(tags[LAYOUT_TAG].plugin_content) == {"v": 1, "kind": "layout"}
    served = provider.read_tensors(RequestContext(), **asked, downsample=1000)["run"][vector_tag(Quantity.GAIN)]
    expected = [one.column(Quantity.GAIN).astype(np.float32).tolist() for one in records]
    assert [one.numpy.tolist() for one in served] == expected


def test_lightnings_logger_is_written_through_and_keeps_its_own_scalars(tmp_path: Path) -> None:
    from pytorch_lightning.loggers import TensorBoardLogger

    logger = TensorBoardLogger(str(tmp_path))
    sink = TensorBoardSink()
    sink.open(Run(loggers=(logger,)))
    for step in range(3):
        logger.log_metrics({"loss": 1.0 / (1 + step)}, step=step)
        sink.emit(measured(step), (), NET)
    sink.close()
    logger.finalize("success")
    log_dir = tmp_path / "lightning_logs" / "version_0"
    assert len(list(log_dir.glob("events.*"))) == 1
    reader = accumulated(log_dir)
    assert [one.value for one in reader.Scalars("loss")] == [1.0, 0.5, np.float32(1 / 3)]
    assert len(reader.Tensors(vector_tag(Quantity.VARIANCE))) == 3


def test_two_loggers_get_the_same_and_a_broken_one_is_dropped_after_one_warning(tmp_path: Path) -> None:
    class Broken:
        class experiment:  # noqa: N801 - an attribute of foreign objects
            calls = 0

            @classmethod
            def _get_file_writer(cls) -> None:
                cls.calls += 1
                message = "disk quota exceeded"
                raise OSError(message)

    good, also = Logger(tmp_path / "a"), Logger(tmp_path / "b")
    sink = TensorBoardSink()
    sink.open(Run(loggers=(good, Broken(), also)))
    with pytest.warns(InitMonitorWarning, match=r"event file of Broken could not be written \(OSError: disk quota"):
        sink.emit(measured(0), (), NET)
    sink.emit(measured(1), (), NET)
    sink.close()
    for logger in (good, also):
        logger.experiment.close()
    assert Broken.experiment.calls == 1
    read = [
        [one.step for one in accumulated(tmp_path / name).Tensors(vector_tag(Quantity.VARIANCE))] for name in ("a", "b")
    ]
    assert read == [[0, 1], [0, 1]]


def test_loggers_without_event_files_are_passed_by_in_silence(tmp_path: Path) -> None:
    from pytorch_lightning.loggers import CSVLogger
    from pytorch_lightning.loggers.logger import DummyLogger

    class Refuses:
        @property
        def experiment(self) -> None:
            message = "not logged in"
            raise RuntimeError(message)

    sink = TensorBoardSink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sink.open(Run(loggers=(CSVLogger(str(tmp_path)), DummyLogger(), Refuses(), object())))
        sink.emit(measured(0), (finding(),), NET)
        sink.close()
    assert list(tmp_path.rglob("events.*")) == []


def test_a_second_fit_writes_its_metadata_again(tmp_path: Path) -> None:
    sink = TensorBoardSink()
    for name in ("a", "b"):
        play(sink, tmp_path / name, [measured(0)])
        assert len(accumulated(tmp_path / name).PluginTagToContent("init_monitor")) == len(VECTORS) + 2


def test_names_that_utf8_cannot_hold_lose_nothing_else(tmp_path: Path) -> None:
    table = Table(("a\ud800", "b", "c"), {Quantity.VARIANCE: np.full(3, 2.0)})
    one = dataclasses.replace(record(NET, {}), layer_table=table)
    play(TensorBoardSink(per_layer_scalars=True), tmp_path, [one], {0: (finding(layers=("a\ud800",)),)})
    reader = accumulated(tmp_path)
    assert {r"init_monitor_layers/variance/a\ud800", "init_monitor_layers/variance/b"} <= set(reader.Tags()["scalars"])


def test_markdown_keeps_figures_code_and_special_characters_apart() -> None:
    assert finding_markdown(finding(), level=2).split("\n\n") == [
        "## IM101 exploding-activations (critical, step 0)",
        "Layers: net.0, net.1",
        "Grows \\*fast\\* \\| 512 ×.",
        "| | measured at step 0 | expected |\n| --- | --- | --- |\n| growth | 512× | 1× |",
        "**What to do:** Use He.",
        "```python\nnn.init.kaiming_normal_(w)\n```",
        "Source: He et al. 2015",
    ]
    bare = Finding("symmetry", "IM501", Severity.INFO, (), 1200, "Equal units.")
    assert finding_markdown(bare) == "### IM501 symmetry (info, step 1,200)\n\nEqual units."


@given(st.integers(1, 200), st.sampled_from([2, 4, 10]))
def test_a_trace_keeps_first_and_last_step_evenly_within_its_bound(count: int, most: int) -> None:
    trace = Trace(most)
    for step in range(count):
        trace.add(step, ("a",), np.array([float(step)]))
        steps, _, matrix = trace.matrix()
        assert matrix[0].tolist() == steps
        assert (steps[0], steps[-1]) == (0, step)
        assert len(steps) <= most + 1
        assert len(set(np.diff(steps[:-1]))) <= 1


def test_a_trace_aligns_layers_by_name_when_they_change() -> None:
    trace = Trace()
    trace.add(0, ("a", "b"), np.array([1.0, 2.0]))
    trace.add(1, ("b", "c"), np.array([3.0, 4.0]))
    steps, names, matrix = trace.matrix()
    assert (steps, names) == ([0, 1], ("b", "c", "a"))
    np.testing.assert_array_equal(matrix, [[2, 3], [math.nan, 4], [1, math.nan]])


def pixels(png: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_the_heatmap_shows_each_cell_in_the_colour_of_its_power_of_ten() -> None:
    matrix = np.array([[0.0, -8.0], [-4.0, math.nan]])
    picture = pixels(heatmap(matrix, steps=[0, 50], names=["a", "b"], title="t"))
    found = {tuple(colour) for colour in picture.reshape(-1, 3)}
    for share in (0.0, 0.5, 1.0):
        assert tuple(colours(np.array([share]))[0]) in found
    top, bottom = picture[150], picture[350]
    dark, light = ANCHORS[0], ANCHORS[-1]
    # The input is on top, time runs to the right.
    assert (top[200].tolist(), top[600].tolist()) == ([*light], [*dark])
    assert bottom[200].tolist() == list(ANCHORS[5])
    assert {tuple(one) for one in bottom[500:700]} == {(226, 226, 230), (188, 188, 196)}


def test_the_colour_map_rises_in_even_steps_of_lightness() -> None:
    srgb = colours(np.linspace(0, 1, 101, dtype=np.float64)) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    # CIE 1976 lightness.
    lightness = np.where(luminance > 216 / 24389, 116 * np.cbrt(luminance) - 16, luminance * 24389 / 27)
    rises = np.diff(lightness)
    assert (rises > 0).all()
    assert rises.max() / rises.mean() < 2
    assert lightness[-1] - lightness[0] > 80


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 700), (60, 5), (1200, 3)])
def test_a_heatmap_of_any_shape_has_a_pixel_for_every_layer(shape: tuple[int, int]) -> None:
    names = [f"model.transformer.blocks.{i}.attention.self.query_projection名[0]" for i in range(shape[0])]
    matrix = np.random.default_rng(0).normal(0, 40, shape)
    matrix[0, 0] = math.inf
    picture = pixels(heatmap(matrix, steps=range(0, 1000 * shape[1], 1000), names=names, title="é名" * 90))
    assert picture.shape[1] == 900
    assert picture.shape[0] >= max(500, shape[0])
    # Nothing is cut off at the edges.
    for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (edge == 255).all()


def test_a_heatmap_of_nothing_is_refused_and_of_nan_is_all_hatched() -> None:
    assert pixels(heatmap(np.full((2, 2), math.nan), steps=[0, 1], names=["a", "b"], title="t")).shape == (500, 900, 3)
    with pytest.raises(ValueError, match=r"has shape \(2, 2\), expected \(1 layers, 2 steps\), none 0"):
        heatmap(np.zeros((2, 2)), steps=[0, 1], names=["a"], title="t")
    with pytest.raises(ValueError, match="none 0"):
        heatmap(np.zeros((0, 2)), steps=[0, 1], names=[], title="t")
