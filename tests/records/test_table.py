"""Numbers by name and quantity, and the objects that are made of them when somebody asks."""

from __future__ import annotations

import copy
import json
import math
import pickle
import timeit
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import linears, record

from init_monitor.records import LayerRecord, Of, StepRecord, Table, entries
from init_monitor.records.quantities import Quantity
from init_monitor.records.registry import quantities
from init_monitor.records.table import Rows
from init_monitor.store import read_run

OLD_RUN = Path(__file__).parents[1] / "store" / "run_of_schema_1.jsonl"
"""Written before records held tables: three steps of a small residual network."""

TABLE = Table(("a", "b", "c"), {Quantity.MEAN: np.array([1.0, math.nan, 3.0])})


def test_a_number_is_found_by_name_and_quantity() -> None:
    assert TABLE.at("a", Quantity.MEAN) == TABLE.at("a", "mean") == 1.0
    assert TABLE.by_name("mean")["c"] == 3.0
    assert list(TABLE.by_name(Quantity.MEAN)) == ["a", "b", "c"]


def test_what_is_not_there_is_nan() -> None:
    absent = [TABLE.at("b", "mean"), TABLE.at("nobody", "mean"), TABLE.at("a", "variance"), Table().at("a", "mean")]
    assert np.isnan(absent).all()
    assert np.isnan(TABLE.column("variance")).all()
    assert TABLE.column("variance").shape == (3,)


def test_a_quantity_that_does_not_exist_is_an_error_that_lists_those_that_do() -> None:
    with pytest.raises(ValueError, match=r"no quantity 'varianz'; expected one of count, mean, variance, "):
        TABLE.at("a", "varianz")


def test_names_are_looked_through_once_for_all_steps() -> None:
    steps = [Table(tuple("abc"), {}) for _ in range(3)]
    assert steps[0].index == {"a": 0, "b": 1, "c": 2}
    assert steps[0].index is steps[1].index is steps[2].index


def test_a_record_survives_pickle_and_copy_after_it_was_read() -> None:
    one = record(linears(2), {Quantity.VARIANCE: [1.0, 2.0]})
    assert one.layer_table.at("net.1", Quantity.VARIANCE) == 2.0
    for other in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):  # noqa: S301 - our own
        assert other.layer_table.at("net.1", Quantity.VARIANCE) == 2.0
        assert other.layers["net.1"] == one.layers["net.1"]


def test_reading_one_layer_of_512_makes_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Counted(LayerRecord):
        def __init__(self, **fields: Any) -> None:
            made.append(fields["name"])
            super().__init__(**fields)

    monkeypatch.setattr(entries, "LayerRecord", Counted)
    net = linears(512)
    layers = record(net, {q: 1.0 for q in Quantity if q.facts.of is Of.LAYER}).layers
    assert len(layers) == 512
    assert "net.100" in layers
    assert "net.512" not in layers
    assert list(layers)[-1] == "net.511"
    assert made == []
    assert layers["net.100"].forward.std == 1.0
    assert made == ["net.100"]


def test_reading_one_layer_of_512_takes_less_than_a_tenth_of_a_millisecond() -> None:
    layers = record(linears(512), {q: 1.0 for q in Quantity if q.facts.of is Of.LAYER}).layers
    # The quickest of many: what else the machine does must not fail a test.
    assert min(timeit.repeat(lambda: layers["net.100"], number=10, repeat=20)) / 10 < 1e-4


def test_rows_are_a_mapping_like_any_other() -> None:
    rows = Rows(TABLE, lambda table, i: float(table.column("mean")[i]))
    assert rows["c"] == 3.0
    assert rows.get("nobody") is None
    assert dict(rows).keys() == {"a", "b", "c"}
    assert repr(rows) == "<3 rows: a, b, c>"
    with pytest.raises(KeyError, match="nobody"):
        rows["nobody"]


def test_a_record_has_a_table_for_each_thing_a_quantity_can_be_of() -> None:
    one = record(linears(2), {Quantity.MEAN: [1.0, 2.0], Quantity.UPDATE_RATIO: [3.0, 4.0]})
    assert one.table(Of.LAYER).column("mean").tolist() == one.column(Quantity.MEAN).tolist() == [1.0, 2.0]
    assert one.table(Of.PARAMETER).column("update_ratio").tolist() == one.column(Quantity.UPDATE_RATIO).tolist()
    assert one.table(Of.RESIDUAL).names == one.residual_names == ()


def old_lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in OLD_RUN.read_text().splitlines()]


def test_a_run_that_was_stored_before_is_read_as_it_was() -> None:
    """Against the file itself, read line by line: every number of every column under the name it was written for."""
    names = next(line for line in old_lines() if line["kind"] == "names")
    steps = [line for line in old_lines() if line["kind"] == "step"]
    run = read_run(OLD_RUN)
    assert [one.step for one in run.records] == [0, 1, 2]
    for one, line in zip(run.records, steps, strict=True):
        for key, table, of in (
            ("columns", one.layer_table, names["layers"]),
            ("parameter_columns", one.parameter_table, names["parameters"]),
            ("residual_columns", one.residual_table, names["residuals"]),
        ):
            assert list(table.names) == of
            assert {str(quantity) for quantity in table.columns} == set(line[key])
            for quantity, numbers in line[key].items():
                np.testing.assert_array_equal(table.column(quantity), np.array(list(map(float, numbers))))
    assert {str(q) for one in run.records for q in one.columns} <= {str(q) for q in quantities(Of.LAYER)}


def test_the_public_words_of_an_old_run_are_those_of_today() -> None:
    run = read_run(OLD_RUN)
    last = run.records[-1]
    line = [line for line in old_lines() if line["kind"] == "step"][-1]
    at = last.names.index("2.first")
    layer = last.layers["2.first"]
    assert layer.forward.variance == line["columns"]["variance"][at]
    assert layer.backward is not None
    assert layer.backward.abs_max == line["columns"]["gradient_abs_max"][at]
    assert layer.gain == line["columns"]["gain"][at]
    assert last.layers["2/relu#1"].units is not None
    assert last.parameters["2.first.weight"].norm == line["parameter_columns"]["weight_norm"][2]
    (block,) = last.residuals
    assert block.variance_ratio == line["residual_columns"]["residual_variance_ratio"][0]
    assert block.loss_decrease == line["residual_columns"]["residual_loss_decrease"][0]
    assert block.name in str(run.structure)
    assert isinstance(last, StepRecord)
