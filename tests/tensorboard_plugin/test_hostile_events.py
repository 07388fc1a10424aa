"""Whatever an event file holds, every request of the tab is answered: in a second, in strict JSON, with a notice."""

from __future__ import annotations

import json
import math
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
import pytest
from builders import blocks, record
from hostile_values import EVIL, VALUES, dumped, obeyed, places, replaced
from hypothesis import HealthCheck, given, settings, strategies as st
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_FLOAT, DT_RESOURCE, DT_STRING, DT_VARIANT
from tensorboard.plugins import base_plugin
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from test_plugin import fast_loader
from werkzeug.test import Client

from init_monitor.page.loss_line import MOST_POINTS
from init_monitor.page.payload import decoded
from init_monitor.records import Figure, Finding, Severity
from init_monitor.records.quantities import LAYER_QUANTITIES, RESIDUAL_QUANTITIES, Quantity
from init_monitor.records.tags import FINDINGS_TAG, LAYOUT_TAG, LOSSES_TAG, PLUGIN_NAME, vector_tag
from init_monitor.sinks import events
from init_monitor.store import finding_json, structure_json
from init_monitor.tensorboard_plugin.plugin import InitMonitorPlugin

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NET = blocks(2)
LONGEST = 1.0
"""Seconds of CPU time that an answer may take, on a machine that others use too."""

VARIANCE = vector_tag(Quantity.VARIANCE)
FOUND = Finding(
    "exploding-activations", "IM101", Severity.CRITICAL, NET.names[:2], 1, "It explodes.",
    {"growth": Figure(512.0, "× per layer")}, {"growth": Figure(1.0, "× per layer")}, "Initialise.", "He et al. 2015",
)  # fmt: skip
ONE = record(NET, dict.fromkeys((*LAYER_QUANTITIES, *RESIDUAL_QUANTITIES), 2.0))
LAYOUT = {
    "v": 1,
    "names": list(ONE.names),
    "parameter_names": list(ONE.parameter_names),
    "residual_names": list(ONE.residual_names),
    **structure_json(NET),
}
FINDINGS: dict[str, Any] = {"v": 1, "findings": [finding_json(FOUND)]}
LOSSES = {"v": 1, "steps": [0, 1, 2], "values": [2.0, "Infinity", 0.5]}
DOCUMENTS = [LAYOUT, FINDINGS, LOSSES]
PLACES = [path for path in places(DOCUMENTS) if path]


class Asked:
    """The plugin, asked as a browser asks it; no answer takes long, fails, or is no strict JSON."""

    def __init__(self, directory: Path, provider: Any = None) -> None:
        if provider is None:
            multiplexer = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance={PLUGIN_NAME: 100})
            multiplexer.AddRunsFromDirectory(str(directory))
            multiplexer.Reload()
            provider = data_provider.MultiplexerDataProvider(multiplexer, str(directory))
        self.apps = InitMonitorPlugin(base_plugin.TBContext(data_provider=provider)).get_plugin_apps()

    def get(self, route: str, **query: Any) -> Any:
        began = time.process_time()
        response = Client(self.apps[route]).get(f"/data/plugin/init_monitor{route}?{urlencode(query, doseq=True)}")
        assert time.process_time() - began < LONGEST, route
        return response

    def json(self, route: str, **query: Any) -> Any:
        response = self.get(route, **query)
        assert response.status_code == 200, response.get_data()

        def refuse(token: str) -> None:
            message = f"{token} is not strict JSON"
            raise AssertionError(message)

        content = json.loads(response.get_data(), parse_constant=refuse)
        assert obeyed(json.dumps(content, ensure_ascii=False)) == set()
        return content

    def everything(self) -> list[str]:
        """Ask for all there is, and return the notices."""
        notices = []
        for run in self.json("/runs")["runs"]:
            name = run["name"]
            for quantity in run["quantities"]:
                response = self.get("/series", run=name, quantity=quantity)
                assert response.status_code == 200, response.get_data()
                header, _ = decoded(response.get_data())
                assert obeyed("".join(header["names"])) == set()
            outline = self.json("/run", run=name)
            for names in (outline["names"][:1], outline["residual_names"][:1]):
                response = self.get("/layer", run=name, name=names)
                assert response.status_code == 200, response.get_data()
            notices += outline["notices"]
        return notices


def written(directory: Path, values: Iterable[Summary.Value], *, wall_time: float = 1.7e9, step: int = 0) -> Path:
    """Write one event."""
    shutil.rmtree(directory / "run", ignore_errors=True)
    writer = EventFileWriter(str(directory / "run"))
    writer.add_event(Event(wall_time=wall_time, step=step, summary=Summary(value=list(values))))
    writer.close()
    return directory


def text(tag: str, content: str, kind: str) -> Summary.Value:
    value = events.text(tag, "", first=True)
    value.metadata.CopyFrom(events.document(tag, {}, kind, first=True).metadata)
    value.tensor.string_val[0] = content.encode("utf-8", "surrogatepass")
    return value


def vector(quantity: Quantity = Quantity.VARIANCE) -> Summary.Value:
    return events.vector(vector_tag(quantity), ONE.column(quantity), quantity.facts.of.plural, first=True)


def documents(content: list[Any]) -> list[Summary.Value]:
    layout, findings, losses = map(dumped, content)
    vectors = (Quantity.VARIANCE, Quantity.GRADIENT_VARIANCE, Quantity.RESIDUAL_GROWTH)
    return [
        text(LAYOUT_TAG, layout, "layout"),
        text(FINDINGS_TAG, findings, "findings"),
        text(LOSSES_TAG, losses, "losses"),
        *map(vector, vectors),
    ]


def test_a_whole_run_is_shown_without_a_word(tmp_path: Path) -> None:
    reader = Asked(written(tmp_path, documents(DOCUMENTS)))
    assert reader.everything() == []
    outline = reader.json("/run", run="run")
    told = [{name: one[name] for name in FINDINGS["findings"][0]} for one in outline["findings"]]
    assert told == FINDINGS["findings"]
    assert outline["losses"] == {"steps": [0, 1, 2], "values": [2.0, "Infinity", 0.5], "nonfinite_from": None}
    assert (outline["layers"], outline["residuals"]) == (LAYOUT["layers"], LAYOUT["residuals"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(VALUES)), min_size=1, max_size=2))
def test_any_value_in_any_field_is_answered(tmp_path: Path, changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    content: list[Any] = DOCUMENTS
    for place, value in changes:
        with suppress(TypeError, KeyError, IndexError):  # where an earlier change took the place away
            content = replaced(content, place, value)
    Asked(written(tmp_path, documents(content))).everything()


@pytest.mark.parametrize("name", [EVIL, "x" * 10_000, "a." * 5_000])
def test_names_that_are_long_or_odd_are_written_out_the_same_everywhere(tmp_path: Path, name: str) -> None:
    content = json.loads(json.dumps(DOCUMENTS).replace(json.dumps(NET.names[0])[1:-1], json.dumps(name)[1:-1]))
    reader = Asked(written(tmp_path, documents(content)))
    assert reader.everything() == []
    outline = reader.json("/run", run="run")
    header, values = decoded(reader.get("/layer", run="run", name=outline["names"][0]).get_data())
    assert set(header["names"]) == {outline["names"][0]} == {outline["layers"][0]["name"]}
    assert values.size


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (
            (0, "layers", 1, "depth"),
            math.nan,
            "1 of the layers are not as init_monitor writes them (layer.depth is nan",
        ),
        ((0, "layers"), 7, "1 of the layers are not as init_monitor writes them (layers is 7, expected a list)"),
        ((0, "residuals", 0, "skip_scale"), "x" * 3000, "1 of the residuals are not as init_monitor writes them ("),
        ((1, "findings", 0, "step"), 2**70, "(finding.step is a number of 71 bits, expected a whole number"),
        ((1, "findings", 0, "evidence"), None, "(finding.evidence is null, expected an object)"),
        ((2, "steps"), [0, 2, 1], "(losses.steps are not ascending whole numbers)"),
        ((2, "steps"), [-1, 0, 1], "(losses.steps are not ascending whole numbers)"),
        ((2, "steps"), 7, "1 part of the loss is not as init_monitor writes it (losses.steps is 7, expected a list)"),
        ((2, "values"), [1.0], "(losses.values has 1 numbers, expected 3)"),
        ((2, "values", 1), "<b>", "(losses.values is '<b>', expected a number)"),
        ((1, "v"), 10**400, "Part of the run has format a number of 1329 bits, this tab reads 1"),
    ],
)
def test_what_is_left_out_is_said(tmp_path: Path, place: tuple[Any, ...], value: Any, words: str) -> None:
    notices = Asked(written(tmp_path, documents(replaced(DOCUMENTS, place, value)))).everything()
    assert any(words in one for one in notices), notices
    assert all(len(one) < 500 for one in notices)


def test_a_document_that_is_nested_too_deep_is_left_out(tmp_path: Path) -> None:
    for depth in (900, 5_000, 200_000):
        deep = '{"v":1,"names":' + "[" * depth + "]" * depth + "}"
        notices = Asked(written(tmp_path, [text(LAYOUT_TAG, deep, "layout"), vector()])).everything()
        assert depth == 900 or any("nested too deep" in one for one in notices)


SHAPE = TensorShapeProto(dim=[TensorShapeProto.Dim(size=5)])
TENSORS = {
    "a shape that does not fit": TensorProto(dtype=DT_FLOAT, tensor_shape=SHAPE, tensor_content=b"\0" * 8),
    "content that is no number": TensorProto(dtype=DT_FLOAT, tensor_shape=SHAPE, tensor_content=b"\0" * 7),
    "an unknown type": TensorProto(dtype=99, tensor_shape=SHAPE, tensor_content=b"\0" * 20),
    "a resource": TensorProto(dtype=DT_RESOURCE, tensor_shape=SHAPE),
    "a variant": TensorProto(dtype=DT_VARIANT, tensor_shape=SHAPE),
    "nothing": TensorProto(),
    "a matrix": TensorProto(
        dtype=DT_FLOAT, tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=2)] * 2), tensor_content=b"\0" * 16
    ),
    "words": TensorProto(dtype=DT_STRING, tensor_shape=SHAPE, string_val=[b"a"] * 5),
    "words that are no text": TensorProto(dtype=DT_STRING, tensor_shape=TensorShapeProto(), string_val=[b"\xff\xfe"]),
}


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS.keys())
@pytest.mark.parametrize("tag", [VARIANCE, LAYOUT_TAG, FINDINGS_TAG, LOSSES_TAG])
def test_a_tensor_that_is_none_is_left_out_with_a_notice(tmp_path: Path, tensor: TensorProto, tag: str) -> None:
    kind = {VARIANCE: "layers", LAYOUT_TAG: "layout", FINDINGS_TAG: "findings", LOSSES_TAG: "losses"}[tag]
    bad = Summary.Value(tag=tag, tensor=tensor, metadata=events.document(tag, {}, kind, first=True).metadata)
    good = [one for one in documents(DOCUMENTS) if one.tag != tag]
    reader = Asked(written(tmp_path, [bad, *good]))
    reader.json("/runs")
    notices = reader.everything()
    assert any(tag in one for one in notices), notices
    header, values = decoded(reader.get("/series", run="run", quantity=Quantity.GRADIENT_VARIANCE).get_data())
    assert len(header["names"]) == len(NET)
    assert np.isfinite(values).all()


def test_a_loss_of_many_documents_is_put_together_once(tmp_path: Path) -> None:
    directory = written(tmp_path, documents(DOCUMENTS))
    writer = EventFileWriter(str(directory / "run"))
    for i in range(90):
        steps = range(1000 * i, 1000 * (i + 1))
        content = {"v": 1, "steps": list(steps), "values": [1.0 if step < 45_500 else "NaN" for step in steps]}
        value = text(LOSSES_TAG, dumped(content), "losses")
        writer.add_event(Event(wall_time=1.7e9 + 1 + i, step=1000 * i, summary=Summary(value=[value])))
    writer.close()
    reader = Asked(directory)
    for _ in range(2):
        losses = reader.json("/run", run="run")["losses"]
    assert len(losses["steps"]) <= MOST_POINTS
    assert (losses["steps"][0], losses["steps"][-1], losses["nonfinite_from"]) == (0, 89_999, 45_500)


def test_the_other_loader_gives_what_can_be_read_too(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    metadata = events.document(LAYOUT_TAG, {}, "layers", first=True).metadata
    bad = [
        Summary.Value(tag=f"init_monitor/bad_{i}", tensor=tensor, metadata=metadata)
        for i, tensor in enumerate(TENSORS.values())
    ]
    deep = text(FINDINGS_TAG, '{"v":1,"findings":' + "[" * 200_000 + "]" * 200_000 + "}", "findings")
    good = [one for one in documents(DOCUMENTS) if one.tag != FINDINGS_TAG]
    with fast_loader(written(tmp_path, [*bad, deep, *good]), tmp_path_factory.mktemp("server") / "port") as provider:
        reader = Asked(tmp_path, provider)
        until = time.monotonic() + 60
        while "variance" not in str(reader.json("/runs")) and time.monotonic() < until:
            time.sleep(0.2)
        notices = reader.everything()
        assert any("nested too deep" in one for one in notices), notices
        outline = reader.json("/run", run="run")
        assert (outline["layers"], outline["findings"]) == (LAYOUT["layers"], [])


@pytest.mark.parametrize("wall_time", [math.nan, math.inf, -math.inf, 1e300, -5.0])
@pytest.mark.parametrize("step", [0, -1, 2**62])
def test_any_time_and_step_is_answered(tmp_path: Path, wall_time: float, step: int) -> None:
    Asked(written(tmp_path, documents(DOCUMENTS), wall_time=wall_time, step=step)).everything()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["kind", "quantity", "title", "centre", "pages", "form", "unit", "short"]), st.sampled_from(VALUES)
)
def test_any_description_of_a_quantity_that_is_not_known_here_is_answered(
    tmp_path: Path, field: str, value: Any
) -> None:
    facts = {"title": "Beauty", "centre": 1.0, "pages": ["overview"], "form": "log", "unit": "", "short": "b"}
    said: dict[str, Any] = {"v": 1, "kind": "layers", "quantity": facts}
    (said if field in said else facts)[field] = value
    odd = events.vector("init_monitor/beauty", ONE.column(Quantity.VARIANCE), "layers", first=True)
    odd.metadata.plugin_data.content = dumped(said).encode("utf-8", "surrogatepass")
    Asked(written(tmp_path, [*documents(DOCUMENTS), odd])).everything()


def test_what_fails_all_the_same_is_an_answer_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Asked(written(tmp_path, documents(DOCUMENTS)))

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError(EVIL)

    monkeypatch.setattr("init_monitor.tensorboard_plugin.reading.merged_names", fail)
    response = reader.get("/run", run="run")
    assert response.status_code == 500
    error = json.loads(response.get_data())["error"]
    assert "ZeroDivisionError" in error
    assert obeyed(error) == set()
