"""Residual additions, shown and stored: what was measured of them is what is read, printed and drawn."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import blocks, linears, record
from hypothesis import given, settings, strategies as st
from rich.console import Console
from tensorboard.backend.event_processing import event_accumulator, event_file_loader
from tensorboard.util import tensor_util
from torch.utils.tensorboard import SummaryWriter

from init_monitor.display.residual_rows import stream_growth
from init_monitor.display.residual_table import residual_table
from init_monitor.display.row_folding import MOST_ROWS
from init_monitor.records import Finding, Residual, Role, Severity, StepRecord, Structure, Table
from init_monitor.records.quantities import LAYOUT_TAG, RESIDUAL_QUANTITIES, RESIDUAL_VECTORS, Quantity, vector_tag
from init_monitor.report import Report
from init_monitor.sinks import ConsoleSink, LoggerSink, Run, TensorBoardSink
from init_monitor.sinks.summary import summary_scalars
from init_monitor.store import RunWriter, read_run, structure_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import RenderableType

NET = blocks(3)
START = "init_monitor_summary"
RELATIVE_ERROR_OF_9_DIGITS = 5e-9


def grown(structure: Structure, growth: Any = 2.0, *, step: int = 0, **more: Any) -> StepRecord:
    """Every layer and residual measured; the sums grow as given, from a variance of 1."""
    growths = np.broadcast_to(np.asarray(growth, float), (len(structure.residuals),))
    with np.errstate(all="ignore"):
        sums = np.exp(np.cumsum(np.log(growths)))
    columns = {
        Quantity.COUNT: 4096.0,
        Quantity.MEAN: 0.5,
        Quantity.VARIANCE: 1.0,
        Quantity.RESIDUAL_VARIANCE_RATIO: np.abs(growths - 1),
        Quantity.RESIDUAL_GROWTH: growths,
        Quantity.RESIDUAL_SUM_VAR: sums,
        Quantity.RESIDUAL_CORRELATION: 0.0123,
        Quantity.RESIDUAL_BACKWARD_GROWTH: 1.75,
        Quantity.RESIDUAL_LOSS_DECREASE: 3.21e-4,
    }
    return record(structure, {**columns, **more.pop("columns", {})}, step=step, **more)


def finding(*layers: str, severity: Severity = Severity.CRITICAL) -> Finding:
    return Finding("residual-growth", "IM401", severity, layers, 0, "It doubles.")


def changed(structure: Structure, i: int, **changes: Any) -> Structure:
    residuals = list(structure.residuals)
    residuals[i] = dataclasses.replace(residuals[i], **changes)
    return dataclasses.replace(structure, residuals=tuple(residuals))


def rendered(content: RenderableType, width: int = 100) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(content)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def row(lines: list[str], name: str) -> list[str]:
    (found,) = (line for line in lines if line.startswith(f"{name} "))
    return found.split()


any_float = st.floats(allow_nan=True, allow_infinity=True)
texts = st.text(max_size=5)


@st.composite
def residual_records(draw: st.DrawFn) -> StepRecord:
    names = draw(st.lists(st.text(min_size=1, max_size=5), unique=True, max_size=4).map(tuple))
    column = st.lists(any_float, min_size=len(names), max_size=len(names)).map(np.array)
    columns = draw(st.dictionaries(st.sampled_from(RESIDUAL_QUANTITIES), column, max_size=4))
    return dataclasses.replace(
        record(linears(1), {Quantity.MEAN: 1.0}, step=draw(st.integers(0, 9))),
        residual_table=Table(names, {quantity: np.asarray(values, np.float64) for quantity, values in columns.items()}),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(residual_records(), max_size=3, unique_by=lambda one: one.step))
def test_any_residual_numbers_come_back_with_nine_digits(
    tmp_path_factory: pytest.TempPathFactory, wrote: list[StepRecord]
) -> None:
    path = tmp_path_factory.mktemp("run") / "run.jsonl"
    with RunWriter(path) as writer:
        for one in wrote:
            writer.write(one)
    for back, original in zip(read_run(path).records, sorted(wrote, key=lambda one: one.step), strict=True):
        assert back.residual_names == original.residual_names
        for quantity in RESIDUAL_QUANTITIES:
            expected = original.column(quantity)
            np.testing.assert_allclose(back.column(quantity), expected, rtol=RELATIVE_ERROR_OF_9_DIGITS, atol=0)


residuals = st.builds(
    Residual,
    *(texts for _ in range(5)),
    skip_scale=any_float,
    branch_scale=any_float,
    sum_scale=any_float,
    follows=texts,
    nested=st.booleans(),
    long=st.booleans(),
    depth=st.integers(0, 1000),
    layers=st.lists(texts, max_size=3).map(tuple),
    normalised=st.booleans(),
    dtype=texts,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(residuals, max_size=3))
def test_any_residual_of_the_structure_comes_back_with_every_field(
    tmp_path_factory: pytest.TempPathFactory, wrote: list[Residual]
) -> None:
    path = tmp_path_factory.mktemp("run") / "run.jsonl"
    structure = Structure((), tuple(wrote))
    with RunWriter(path) as writer:
        writer.write(record(Structure(), {}), structure=structure)
    read = read_run(path).structure.residuals
    for back, original in zip(read, wrote, strict=True):
        for one in dataclasses.fields(Residual):
            got, expected = getattr(back, one.name), getattr(original, one.name)
            assert type(got) is type(expected), one.name
            if isinstance(expected, float):
                np.testing.assert_allclose(got, expected, rtol=RELATIVE_ERROR_OF_9_DIGITS, atol=0)
            else:
                assert got == expected


def test_a_stored_layer_has_its_role_and_its_tuples_back(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with RunWriter(path) as writer:
        writer.write(grown(NET), structure=NET)
    back = read_run(path).structure
    assert back == NET
    assert back.layers[0].role is Role.WEIGHT
    path.write_text(path.read_text("ascii").replace('"role":"weight"', '"role":"oracle"'))
    assert {layer.role for layer in read_run(path).structure.layers} == {Role.OTHER}


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def test_a_file_from_before_residuals_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with RunWriter(path) as writer:
        writer.write(grown(NET), structure=NET)
    old = entries(path)
    for entry in old:
        entry.pop("residual_columns", None)
        if entry["kind"] == "names":
            assert entry.pop("residuals") == [residual.name for residual in NET.residuals]
        if entry["kind"] == "structure":
            first = ("name", "owner", "kind", "skip", "branch")
            entry["residuals"] = [{name: one[name] for name in first} for one in entry["residuals"]]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in old))
    run = read_run(path)
    assert run.records[0].residual_names == ()
    assert run.records[0].residuals == ()
    assert run.records[0].column(Quantity.VARIANCE).tolist() == [1.0] * len(NET)
    assert run.structure.residuals[1] == Residual("blocks.1#1", "blocks.1", "identity", "blocks.0#1", "blocks.1.fc2")


def test_a_residual_column_of_the_wrong_length_leaves_its_step_out(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with RunWriter(path) as writer:
        writer.write(grown(NET), structure=NET)
    path.write_text(path.read_text("ascii").replace('"residual_growth":[2,2,2]', '"residual_growth":[2,2]'))
    run = read_run(path)
    assert run.records == []
    assert "residual_growth has 2 numbers, expected 3" in run.notices[0]


def test_names_are_written_again_when_only_a_residual_changes_its_name(tmp_path: Path) -> None:
    path, one = tmp_path / "run.jsonl", grown(NET)
    with RunWriter(path) as writer:
        for step, names in enumerate((one.residual_names, ("a", "b", "c"), ("a", "b", "c"))):
            writer.write(dataclasses.replace(one, step=step, residual_table=Table(names, one.residual_columns)))
    assert [entry["kind"] for entry in entries(path)] == ["header", "names", "step", "names", "step", "step"]
    assert read_run(path).records[2].residuals[1].name == "b"


def scaled_by_a_tensor() -> Structure:
    """Made anew with a NaN of its own, as a rebuilt structure is."""
    return changed(NET, 1, branch_scale=float("nan"))


def test_a_structure_with_an_unknown_scale_is_written_once(tmp_path: Path) -> None:
    assert scaled_by_a_tensor() != scaled_by_a_tensor()
    path, log_dir = tmp_path / "run.jsonl", tmp_path / "logs"
    logger, sink = Logger(log_dir), TensorBoardSink()
    sink.open(Run(loggers=(logger,)))
    with RunWriter(path) as writer:
        for step in range(3):
            writer.write(grown(NET, step=step), structure=scaled_by_a_tensor())
            sink.emit(grown(NET, step=step), (), scaled_by_a_tensor())
    sink.close()
    logger.experiment.close()
    assert sum(entry["kind"] == "structure" for entry in entries(path)) == 1
    assert [tag for _, tag in tags_of(log_dir)].count(LAYOUT_TAG) == 1


class Logger:
    """A logger as Lightning's looks from outside: an experiment with an event writer."""

    def __init__(self, log_dir: Path) -> None:
        self.experiment = SummaryWriter(str(log_dir))


def play(log_dir: Path, records: Sequence[StepRecord], structure: Structure = NET, **options: Any) -> Any:
    logger, sink = Logger(log_dir), TensorBoardSink(**options)
    sink.open(Run(loggers=(logger,), log_dir=log_dir))
    for one in records:
        sink.emit(one, (), structure)
    sink.close()
    logger.experiment.close()
    everything = dict.fromkeys(("tensors", "scalars", "images"), 0)
    return event_accumulator.EventAccumulator(str(log_dir), size_guidance=everything).Reload()


def raw_values(log_dir: Path) -> list[tuple[int, Any]]:
    """Number of the event and every value in it, exactly as written."""
    (file,) = log_dir.glob("events.*")
    events = [
        event_file_loader.event_pb2.Event.FromString(content)
        for content in event_file_loader.RawEventFileLoader(str(file)).Load()
    ]
    return [(i, value) for i, event in enumerate(events) for value in event.summary.value]


def tags_of(log_dir: Path) -> list[tuple[int, str]]:
    return [(i, value.tag) for i, value in raw_values(log_dir)]


def odd_numbers(step: int) -> StepRecord:
    rng = np.random.default_rng(step)
    columns: dict[Quantity, Any] = {q: 10.0 ** rng.uniform(-30, 30, 3) for q in RESIDUAL_VECTORS}
    columns[Quantity.RESIDUAL_CORRELATION] = [-1.0, math.nan, 0.5]
    return grown(NET, step=step, columns=columns)


def test_tensorboards_reader_finds_the_float32_of_every_residual_number(tmp_path: Path) -> None:
    records = [odd_numbers(step) for step in (0, 1, 50)]
    reader = play(tmp_path, records)
    for quantity in RESIDUAL_VECTORS:
        tensors = reader.Tensors(vector_tag(quantity))
        assert [one.step for one in tensors] == [0, 1, 50]
        for one, wrote in zip(tensors, records, strict=True):
            read = tensor_util.make_ndarray(one.tensor_proto)
            np.testing.assert_array_equal(read, wrote.column(quantity).astype(np.float32), err_msg=str(quantity))


def test_residual_vectors_lie_in_the_event_of_the_layers_and_say_what_they_are_of(tmp_path: Path) -> None:
    play(tmp_path, [odd_numbers(0), odd_numbers(1)])
    values = raw_values(tmp_path)
    events = {tag: [i for i, value in values if value.tag == tag] for _, tag in tags_of(tmp_path)}
    for quantity in RESIDUAL_VECTORS:
        assert events[vector_tag(quantity)] == events[vector_tag(Quantity.VARIANCE)]
        first, second = (value for _, value in values if value.tag == vector_tag(quantity))
        assert json.loads(first.metadata.plugin_data.content) == {"v": 1, "kind": "residuals"}
        assert not second.HasField("metadata")


def test_the_layout_says_which_residual_each_number_is_of(tmp_path: Path) -> None:
    play(tmp_path, [grown(NET)])
    (layout,) = (json.loads(v.tensor.string_val[0]) for _, v in raw_values(tmp_path) if v.tag == LAYOUT_TAG)
    assert layout["residual_names"] == ["blocks.0#1", "blocks.1#1", "blocks.2#1"]
    assert layout["residuals"] == structure_json(NET)["residuals"]
    shown = [(one["kind"], one["owner"], one["depth"]) for one in layout["residuals"]]
    assert shown == [("identity", f"blocks.{i}", 2 * i + 3) for i in range(3)]


def test_a_network_without_residuals_gets_no_residual_tag(tmp_path: Path) -> None:
    play(tmp_path, [record(linears(3), {Quantity.VARIANCE: 1.0})], linears(3))
    assert not [tag for _, tag in tags_of(tmp_path) if "residual" in tag]


def test_the_picture_of_the_variance_ratio_comes_at_the_end_of_the_run(tmp_path: Path) -> None:
    silent = {Quantity.RESIDUAL_VARIANCE_RATIO: [0.0, 1.0, math.nan]}
    reader = play(tmp_path, [grown(NET), grown(NET, step=1, columns=silent)])
    (picture,) = reader.Images("init_monitor_heatmap/residual_variance_ratio")
    assert (picture.step, picture.width, picture.height) == (1, 900, 500)


def test_per_layer_scalars_include_residuals(tmp_path: Path) -> None:
    reader = play(tmp_path, [grown(NET, [2, 3, math.nan])], per_layer_scalars=True)
    tags = {tag for tag in reader.Tags()["scalars"] if "/residual_growth/block" in tag}
    assert tags == {f"init_monitor_layers/residual_growth/blocks.{i}#1" for i in range(2)}
    assert reader.Scalars("init_monitor_layers/residual_growth/blocks.1#1")[0].value == 3.0


def residual_scalars(scalars: dict[str, float]) -> dict[str, float]:
    return {tag.removeprefix(f"{START}/residual_"): value for tag, value in scalars.items() if "residual" in tag}


def test_the_residual_scalars_are_over_the_blocks_that_were_measured() -> None:
    columns = {
        Quantity.RESIDUAL_GROWTH: [1.5, 2.0, 4.0, math.nan],
        Quantity.RESIDUAL_VARIANCE_RATIO: [0.0, 1e-2, 1e-4, 1e2],
        Quantity.RESIDUAL_CORRELATION: [-0.5, 0.1, 0.2, math.nan],
        Quantity.RESIDUAL_BACKWARD_GROWTH: [1.0, 3.0, math.nan, math.nan],
    }
    assert residual_scalars(summary_scalars(record(blocks(4), columns))) == pytest.approx(
        {
            "variance_ratio/log10_min": -90,
            "variance_ratio/log10_median": math.log10((1e-2 + 1e-4) / 2),
            "growth/median": 2,
            "growth/max": 4,
            "correlation/abs_median": 0.2,
            "backward_growth/median": 2,
        }
    )


def test_additions_outside_the_main_stream_are_left_out_of_the_scalars(tmp_path: Path) -> None:
    net = changed(changed(NET, 0, nested=True), 1, long=True)
    one = grown(net, [1e6, 1e-6, 3.0])
    assert summary_scalars(one)[f"{START}/residual_growth/max"] == 1e6
    expected = summary_scalars(one, net)
    assert expected[f"{START}/residual_growth/max"] == expected[f"{START}/residual_growth/median"] == 3
    assert not residual_scalars(summary_scalars(one, changed(net, 2, nested=True)))
    reader = play(tmp_path, [one], net, all_scalars=True)
    assert reader.Scalars(f"{START}/residual_growth/max")[0].value == 3


def test_lightnings_csv_logger_gets_the_scalars_of_the_main_stream(tmp_path: Path) -> None:
    from pytorch_lightning.loggers import CSVLogger

    net = changed(NET, 0, nested=True)
    logger, sink = CSVLogger(str(tmp_path)), LoggerSink()
    sink.open(Run(loggers=(logger,)))
    sink.emit(grown(net, [1e6, 2.0, 3.0]), (), net)
    sink.close()
    logger.save()
    with (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").open() as file:
        (logged,) = csv.DictReader(file)
    assert float(logged[f"{START}/residual_growth/max"]) == 3


def test_a_doubling_per_block_is_two_to_the_number_of_blocks_after_all_of_them() -> None:
    growth = stream_growth(grown(blocks(20)), blocks(20))
    assert growth is not None
    assert 10**growth.log10_of_run == pytest.approx(2**20)
    assert str(growth) == "Growth per block: 2× (geometric mean of 20 blocks), 1.05e6× after all of them"


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30))
def test_the_growth_per_block_is_the_geometric_mean(growths: list[float]) -> None:
    net = blocks(len(growths))
    growth = stream_growth(grown(net, growths), net)
    assert growth is not None
    assert 10**growth.log10_per_block == pytest.approx(np.prod(growths) ** (1 / len(growths)), rel=1e-9)
    assert growth.log10_of_run == pytest.approx(np.log10(growths).sum(), abs=1e-9)


def test_nested_long_and_unmeasured_additions_are_no_block_of_the_stream() -> None:
    net = changed(changed(changed(blocks(5), 1, nested=True), 2, long=True), 4, follows="blocks.0#1")
    growth = stream_growth(grown(net, [2, 1e9, 1e9, math.nan, 8]), net)
    assert growth is not None
    assert (growth.blocks, growth.run) == (2, ("blocks.0#1", "blocks.4#1"))
    assert str(growth) == "Growth per block: 4× (geometric mean of 2 blocks), 16× after all of them"


def test_growth_does_not_build_up_over_a_normalisation_or_another_layer() -> None:
    post_norm = blocks(4, normalised=True)
    assert str(stream_growth(grown(post_norm), post_norm)).endswith(
        "(geometric mean of 4 blocks); each is followed by a normalisation or another layer, so it does not build up"
    )
    stages = changed(blocks(6), 2, follows="")
    assert str(stream_growth(grown(stages), stages)).endswith(
        "(geometric mean of 6 blocks), 16× over the longest unbroken stream: 4 blocks up to blocks.5#1"
    )


def test_two_streams_side_by_side_are_followed_each_on_its_own() -> None:
    net = blocks(6)
    for i in range(6):
        net = changed(net, i, follows=f"blocks.{i - 2}#1" if i >= 2 else "")
    growth = stream_growth(grown(net), net)
    assert growth is not None
    assert growth.run == ("blocks.0#1", "blocks.2#1", "blocks.4#1")


def test_of_an_unknown_structure_only_the_mean_is_claimed() -> None:
    assert str(stream_growth(grown(NET), Structure())) == "Growth per block: 2× (geometric mean of 3 blocks)"
    one = blocks(1)
    assert str(stream_growth(grown(one), one)) == "Growth per block: 2× (geometric mean of 1 block)"


def test_where_nothing_was_measured_nothing_is_claimed() -> None:
    assert stream_growth(grown(NET, math.nan), NET) is None
    assert stream_growth(grown(NET, [0.0, math.inf, math.nan]), NET) is None
    assert rendered(residual_table(grown(NET, math.nan), NET))[-2].startswith("blocks.2#1")


def test_a_growth_beyond_the_largest_float_is_still_a_number() -> None:
    net = blocks(40)
    assert "1e400× after all of them" in str(stream_growth(grown(net, 1e10), net))


def test_a_row_shows_every_number_of_its_residual() -> None:
    lines = rendered(residual_table(grown(NET, [2.0, 3.0, 1.5]), NET))
    assert lines[0] == "Residual additions at step 0: 3"
    assert " ".join(lines[1].split()) == "Var(F) backward Var(sum), log loss"
    header = "residual kind /Var(x) growth correlation growth Var(sum) 1e-1 1e1 decrease"
    assert " ".join(lines[2].split()) == header
    numbers = ["2", "3", "0.0123", "1.75", "6", "│████▌", "0.000321"]
    assert row(lines, "blocks.1#1") == ["blocks.1#1", "identity", *numbers]
    assert lines[-1].startswith("#1: the first call")
    assert lines[-2] == "Growth per block: 2.08× (geometric mean of 3 blocks), 9× after all of them."


def test_the_bars_grow_with_the_variance_of_the_sum() -> None:
    net = blocks(20)
    lines = rendered(residual_table(grown(net), net, plain=True))
    lengths = [line.count("#") - 1 for line in lines if line.startswith("blocks.")]
    assert lengths == sorted(lengths)
    # 2 is 0.3 and 2^20 is 6.02 of the 7 powers of ten that ten cells stand for.
    assert (lengths[0], lengths[-1]) == (0, 9)


def test_additions_outside_the_main_stream_are_marked_and_dim() -> None:
    net = changed(changed(NET, 0, nested=True), 1, long=True, kind="projection")
    table = residual_table(grown(net), net)
    lines = rendered(table)
    assert [row(lines, f"blocks.{i}#1")[1] for i in range(3)] == ["nested", "long", "identity"]
    out = io.StringIO()
    Console(file=out, width=100, force_terminal=True, color_system="standard").print(table)
    styled = {line.partition("blocks.")[2][0]: line.startswith("\x1b[2m") for line in out.getvalue().splitlines()[4:7]}
    assert styled == {"0": True, "1": True, "2": False}


def test_an_addition_that_a_finding_names_has_its_bar_in_the_colour_of_the_worst() -> None:
    found = (finding("blocks.1#1", severity=Severity.WARNING), finding("blocks.1#1"))
    table = residual_table(grown(NET, 10.0), NET, iter(found))
    out = io.StringIO()
    Console(file=out, width=100, force_terminal=True, color_system="standard").print(table)
    coloured = [line for line in out.getvalue().splitlines() if "\x1b[1;31m" in line]
    assert ["blocks.1#1" in line for line in coloured] == [True]


def test_an_unknown_structure_still_gives_a_residual_table() -> None:
    lines = rendered(residual_table(grown(NET), Structure()))
    assert row(lines, "blocks.0#1")[1:3] == ["1", "2"]


def test_a_deep_network_shows_its_ends_the_blamed_addition_and_what_it_left_out() -> None:
    net = blocks(100)
    one = grown(net, 1.0, columns={Quantity.RESIDUAL_SUM_VAR: [1.0] * 30 + [0.25] + [math.nan] + [4.0] * 68})
    lines = rendered(residual_table(one, net, (finding("blocks.60#1"),)))
    assert lines[0] == "Residual additions at step 0: 100"
    shown = [line.split()[0] for line in lines[4:-2]]
    ends = [f"blocks.{i}#1" for i in (*range(6), 60, *range(94, 100))]
    assert shown == [*ends[:6], "…", ends[6], "…", *ends[7:]]
    assert [line.split() for line in lines if line.startswith("…")] == [
        ["…", "54", "more", "0.25–4"],
        ["…", "33", "more", "4"],
    ]
    assert len(lines) <= MOST_ROWS + 6


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_residual_table_fits_and_loses_whole_columns_but_never_a_digit(width: int, *, plain: bool) -> None:
    net = blocks(50, named="model.encoder.transformer.layers", kind="projection")
    columns: dict[Quantity, Any] = {q: np.full(50, -1.23456e-15) for q in RESIDUAL_VECTORS}
    columns[Quantity.RESIDUAL_SUM_VAR] = np.logspace(-15, 15, 50, dtype=np.float64)
    columns[Quantity.RESIDUAL_BACKWARD_GROWTH] = np.full(50, 4.56789e-15)
    lines = rendered(residual_table(grown(net, columns=columns), net, width=width, plain=plain), 200)
    assert max(map(len, lines)) <= width
    assert " ".join(lines).startswith("Residual additions at step 0: 50 of model.encoder.transformer.layers ")
    first = next(line for line in lines if line.startswith("0#1"))
    assert first.count("-1.23e-15") == {60: 2, 80: 3, 100: 4}[width]
    assert ("4.57e-15" in first) is (width == 100)
    assert "…" not in "".join(lines) or not plain
    assert "".join(lines).replace("×", "x").isascii() is plain


def test_the_console_prints_the_residual_table_right_after_the_propagation_table() -> None:
    printed: list[str] = []
    sink = ConsoleSink(verbose=True)
    sink.open(Run(dense_steps=1, write=printed.append))
    sink.emit(grown(NET), (), NET)
    (text,) = printed
    layers, residuals = text.split("\n\n")
    assert layers.startswith("Signal propagation at step 0: 8 layers")
    assert residuals.startswith("Residual additions at step 0: 3")
    assert "8× after all of them." in residuals
    sink.close()
    assert len(printed) == 2


def test_the_console_prints_no_residual_table_without_residuals_or_when_quiet() -> None:
    printed: list[str] = []
    for sink, net in ((ConsoleSink(), linears(2)), (ConsoleSink(quiet=True), NET)):
        sink.open(Run(dense_steps=1, write=printed.append))
        sink.emit(record(net, {Quantity.VARIANCE: 1.0}), (), net)
    assert len(printed) == 1
    assert "Residual" not in printed[0]


REPORT = Report((grown(NET, [2.0, 3.0, math.nan]), grown(NET, [2.0, 3.0, 1.5], step=7)), (), NET)


def test_the_json_report_has_every_residual_number_of_every_step() -> None:
    def refuse(token: str) -> None:
        raise AssertionError(token)

    table = json.loads(REPORT.to_json(), parse_constant=refuse)["residuals"]
    assert table["columns"] == ["step", "residual", *map(str, RESIDUAL_QUANTITIES)]
    growth = table["columns"].index("residual_growth")
    assert [(cells[0], cells[1], cells[growth]) for cells in table["rows"]] == [
        (0, "blocks.0#1", 2),
        (0, "blocks.1#1", 3),
        (0, "blocks.2#1", "NaN"),
        (7, "blocks.0#1", 2),
        (7, "blocks.1#1", 3),
        (7, "blocks.2#1", 1.5),
    ]


def test_the_markdown_report_ends_with_the_residuals_of_the_last_step() -> None:
    lines = REPORT.to_markdown().splitlines()
    start = lines.index("## Residual additions at step 7")
    assert lines[start + 2 : start + 5] == [
        "| residual | kind | Var(F)/Var(x) | growth | correlation | backward growth | Var(sum) | loss decrease |",
        "|:--|:--|--:|--:|--:|--:|--:|--:|",
        "| blocks.0\\#1 | identity | 1 | 2 | 0.0123 | 1.75 | 2 | 0.000321 |",
    ]
    assert lines[-1] == "Growth per block: 2.08× (geometric mean of 3 blocks), 9× after all of them."


def test_the_html_report_shows_the_residuals_and_obeys_no_name() -> None:
    odd = changed(NET, 1, name="<b>&#1")
    page = Report((grown(odd),), (), odd).to_html()
    assert "<h2>Residual additions at step 0</h2>" in page
    assert "<td>&lt;b&gt;&amp;#1</td><td>identity</td><td>1</td><td>2</td>" in page
    assert "<b>" not in page


def test_a_report_renders_the_residual_table_as_the_console_does() -> None:
    lines = rendered(REPORT)
    assert "Residual additions at step 7: 3" in lines
    assert row(lines[lines.index("Residual additions at step 7: 3") :], "blocks.2#1")[3] == "1.5"


def test_a_report_without_residuals_does_not_speak_of_them() -> None:
    for report in (Report(), Report((record(linears(2), {Quantity.VARIANCE: 1.0}),), (), linears(2))):
        assert "esidual" not in report.to_markdown() + str(report) + report._repr_html_()
        assert json.loads(report.to_json())["residuals"]["rows"] == []


def test_the_residual_dataframe_has_a_row_per_step_and_residual() -> None:
    frame = REPORT.to_residual_dataframe()
    assert list(frame.columns) == ["step", "residual", *map(str, RESIDUAL_QUANTITIES)]
    assert list(frame[frame["step"] == 7]["residual_growth"]) == [2.0, 3.0, 1.5]
    assert "residual_growth" not in REPORT.to_dataframe().columns


def test_without_pandas_the_error_names_the_method_that_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"Report\.to_residual_dataframe\(\) needs pandas: pip install pandas\."):
        REPORT.to_residual_dataframe()
