"""The one table of quantities: what it has to say of each, and what another one from outside may be."""

from __future__ import annotations

import copy
import json
import pickle
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builders import linears, record

from init_monitor.errors import InitMonitorWarning
from init_monitor.records import Facts, Form, Group, Of, Page
from init_monitor.records.facts_json import facts_from, facts_json
from init_monitor.records.quantities import (
    HEAD_VECTORS,
    LAYER_VECTORS,
    PARAMETER_VECTORS,
    RESIDUAL_VECTORS,
    Quantity,
    vector_tag,
)
from init_monitor.records.registry import described, is_registered, moments, quantities, register, unregister, vectors

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Facts(of=Of.LAYER, title="Root", means="√E[x²]", derive=lambda column: np.sqrt(column("mean_square")))


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    for quantity in quantities():
        if is_registered(quantity):
            unregister(quantity.value)


@pytest.mark.parametrize("quantity", Quantity)
def test_everything_is_said_of_a_quantity(quantity: Quantity) -> None:
    facts = quantity.facts
    assert facts.title
    assert facts.means
    assert facts.group is not Group.REGISTERED
    if facts.in_events:
        assert facts.short
        assert facts.explains.endswith(".")
    # A picture can only show what was written.
    assert facts.in_events or not (facts.pages or facts.picture)
    assert facts.summary or not facts.chart
    assert all(one.removeprefix("log10_") in {"min", "median", "max", "abs_median"} for one in facts.summary)


def test_no_two_quantities_have_the_same_words() -> None:
    for words in ([q.facts.title for q in Quantity], [q.facts.means for q in Quantity]):
        assert len(set(words)) == len(words)


def test_tags_are_those_that_event_files_of_old_have() -> None:
    """By name, never by position: another quantity between two others changes no tag and belongs where it says."""
    assert [vector_tag(q) for q in LAYER_VECTORS] == [
        f"init_monitor/{name}"
        for name in (
            *("mean", "variance", "abs_max", "zero_fraction", "nonfinite_count", "gradient_variance"),
            *("gradient_abs_max", "gradient_nonfinite_count", "gain", "dead_fraction", "all_positive_fraction"),
            *("unit_samples", "saturated_fraction", "between_sample_share", "log_partition"),
        )
    ]
    assert {str(q) for q in PARAMETER_VECTORS} == {
        *("weight_variance", "weight_gradient_norm", "update_ratio", "weight_rows_used"),
    }
    assert {str(q) for q in HEAD_VECTORS} == {
        *("attention_logit_max", "attention_logit_rms", "attention_entropy", "attention_one_place", "attention_first"),
    }
    assert {str(q) for q in RESIDUAL_VECTORS} == {
        *("residual_variance_ratio", "residual_growth", "residual_correlation"),
        *("residual_sum_var", "residual_sum_gradient_var", "residual_loss_decrease"),
    }


@pytest.mark.parametrize("quantity", Quantity)
def test_what_a_quantity_is_of_shows_in_its_name(quantity: Quantity) -> None:
    is_parameter = quantity.startswith("weight_") or quantity in {Quantity.UPDATE_RATIO, Quantity.TRAINABLE}
    rest = Of.HEAD if quantity.startswith("attention_") else Of.PARAMETER if is_parameter else Of.LAYER
    expected = Of.RESIDUAL if quantity.startswith("residual_") else rest
    assert quantity.facts.of is expected


def test_the_moments_of_a_tensor_are_named_after_it() -> None:
    for quantity in Quantity:
        stream = quantity.facts.stream
        if stream is not None:
            assert moments(stream)[quantity.facts.moment] is quantity
            assert quantity.endswith(quantity.facts.moment)


def test_a_registered_quantity_is_made_from_the_others_in_every_record() -> None:
    root = register("root_mean_square", ROOT)
    one = record(linears(3), {Quantity.MEAN_SQUARE: [4.0, 9.0, np.nan]})
    np.testing.assert_array_equal(one.column(root), [2.0, 3.0, np.nan])
    assert one.layer_table.at("net.1", "root_mean_square") == 3.0
    assert root in quantities(Of.LAYER)
    assert root not in vectors()
    assert Quantity("root_mean_square") is root is copy.deepcopy(root)
    assert pickle.loads(pickle.dumps(root)) is root  # noqa: S301 - our own


def test_a_registered_quantity_may_be_replaced_and_taken_out() -> None:
    register("root_mean_square", ROOT)
    again = register("root_mean_square", Facts(of=Of.PARAMETER, title="Other", means="nothing", form=Form.COUNT))
    assert quantities(Of.PARAMETER)[-1] is again
    unregister("root_mean_square")
    unregister("root_mean_square")
    assert again not in quantities()
    with pytest.raises(ValueError, match="root_mean_square"):
        Quantity("root_mean_square")


@pytest.mark.parametrize("name", ["variance", "layout", "findings"])
def test_a_name_of_the_package_cannot_be_registered(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is taken by init_monitor itself; choose another"):
        register(name, ROOT)


@pytest.mark.parametrize("name", ["", "Variance", "my quantity", "1st", "a/b"])
def test_a_name_that_is_no_column_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected lower-case letters, digits and _"):
        register(name, ROOT)


@pytest.mark.parametrize(
    ("derive", "words"),
    [
        (lambda column: column("no_such_quantity"), "ValueError: there is no quantity 'no_such_quantity'"),
        (lambda _: np.zeros(7), "could not be made"),
        (lambda _: ["a", "b", "c"], "one number per layer"),
    ],
)
def test_a_quantity_that_cannot_be_made_is_said_once_and_left_out(derive: object, words: str) -> None:
    broken = register("broken", Facts(of=Of.LAYER, title="Broken", means="nothing", derive=derive))  # type: ignore[arg-type]
    with pytest.warns(InitMonitorWarning, match=words):
        one = record(linears(3), {Quantity.MEAN: 1.0})
    assert broken not in one.columns
    assert np.isnan(one.column(broken)).all()
    assert one.column(Quantity.MEAN).tolist() == [1.0, 1.0, 1.0]
    # Warnings are errors in here: a second one would show.
    record(linears(3), {Quantity.MEAN: 1.0})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"summary": ("log10_mean",)}, "summary of 'Odd' has 'log10_mean', expected min, median, max, abs_median, or"),
        ({"pages": (Page.OVERVIEW,)}, "it has to go into event files: in_events=True"),
        ({"picture": "A picture"}, "it has to go into event files: in_events=True"),
        ({"chart": ("Signal", "Odd")}, "no summary scalar to draw in it: give it a summary"),
        ({"centre": 0.0}, "centre of 'Odd' is 0.0, expected a positive number on a logarithmic axis"),
    ],
)
def test_what_could_not_be_shown_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        Facts(of=Of.LAYER, title="Odd", means="nothing", **fields)


@pytest.mark.parametrize("quantity", Quantity)
def test_what_an_event_file_says_of_a_quantity_comes_back(quantity: Quantity) -> None:
    said = json.loads(json.dumps(facts_json(quantity), allow_nan=False))
    other = facts_json(described(quantity.value, facts_from(said, quantity.facts.of)))
    assert {**other, "healthy": None} == {**said, "healthy": None}


def test_colours_follow_from_how_a_number_is_read() -> None:
    assert Quantity.VARIANCE.facts.palette == Quantity.RESIDUAL_CORRELATION.facts.palette == "diverging"
    assert Quantity.GRADIENT_VARIANCE.facts.palette == "sequential"
    assert Quantity.DEAD_FRACTION.facts.palette == Quantity.NONFINITE_COUNT.facts.palette == "share"
    assert Quantity.VARIANCE.facts.form.scale == "log"
    assert Quantity.MEAN.facts.form.scale == "linear"
    assert Page.OVERVIEW in Quantity.UPDATE_RATIO.facts.pages
