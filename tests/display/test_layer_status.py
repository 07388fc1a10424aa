"""What the table says of a layer that no finding names but that passes on what is wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from builders import linear, norm, record, rectifier

from init_monitor import Finding, Severity, Structure
from init_monitor.display.layer_status import statuses
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.records import Layer


def found(rule: str) -> Finding:
    return Finding(rule, "IM100", Severity.WARNING, ("fc",), 0, "")


def words(rule: str) -> list[str]:
    structure = Structure(
        (
            linear(0, "fc"),
            rectifier(1, "act", inputs=("fc",)),
            rectifier(2, "again", inputs=("act",)),
            norm(3, "norm", inputs=("again",)),
            linear(4, "head", inputs=("norm",)),
        )
    )
    measured = record(structure, {Quantity.VARIANCE: 1.0, Quantity.COUNT: 8.0})
    return [status.word for status in statuses(measured, structure, [found(rule)])]


def test_an_activation_behind_a_vanishing_layer_is_not_called_healthy() -> None:
    assert words("vanishing-activations") == ["vanishing", "vanishing", "vanishing", "healthy", "healthy"]


def test_what_is_wrong_with_the_layer_alone_stays_with_it() -> None:
    assert words("symmetry") == ["symmetric", "healthy", "healthy", "healthy", "healthy"]


def of_signal(rule: str, named: tuple[str, ...], columns: Mapping[Quantity, object], *more: Layer) -> list[str]:
    """Marked statuses of fc0, act0, fc1, act1, fc2, act2, and more layers behind them."""
    layers = [
        one
        for i in range(3)
        for one in (
            linear(2 * i, f"fc{i}", inputs=(f"act{i - 1}",) if i else ("input",)),
            rectifier(2 * i + 1, f"act{i}", inputs=(f"fc{i}",)),
        )
    ]
    structure = Structure((*layers, *more))
    measured = record(structure, {Quantity.COUNT: 8.0, Quantity.VARIANCE: 1.0, **columns})
    found = Finding(rule, "IM100", Severity.CRITICAL, named, 0, "")
    return [status.marked for status in statuses(measured, structure, [found])]


def test_between_two_layers_at_fault_the_signal_explodes_too_and_only_they_are_marked() -> None:
    head = linear(6, "head", inputs=("act2",))
    levels = {Quantity.VARIANCE: [1e2, 1e2, 1e4, 1e4, 1e6, 1e6, 1e7]}
    words = of_signal("exploding-activations", ("fc0", "fc1", "fc2"), levels, head)
    assert words == ["exploding !", "exploding", "exploding !", "exploding", "exploding !", "exploding", "exploding"]


def test_what_a_normalisation_gives_on_is_healthy_again() -> None:
    more = (norm(6, "norm", inputs=("act2",)), linear(7, "head", inputs=("norm",)))
    levels = {Quantity.VARIANCE: [1e2, 1e2, 1e4, 1e4, 1e6, 1e6, 1.0, 1.0]}
    assert of_signal("exploding-activations", ("fc0", "fc1", "fc2"), levels, *more)[-2:] == ["healthy", "healthy"]


def test_a_layer_that_makes_the_signal_small_again_is_healthy() -> None:
    head = linear(6, "head", inputs=("act2",))
    levels = {Quantity.VARIANCE: [1e2, 1e2, 1e4, 1e4, 1e6, 1e6, 1.0]}
    assert of_signal("exploding-activations", ("fc0", "fc1", "fc2"), levels, head)[-1] == "healthy"


def test_a_branch_beside_the_signal_that_vanishes_is_none_of_its_business() -> None:
    side = linear(6, "side", inputs=("input",))
    levels = {Quantity.VARIANCE: [1e-2, 1e-2, 1e-4, 1e-4, 1e-6, 1e-6, 1.0]}
    assert of_signal("vanishing-activations", ("fc0", "fc1", "fc2"), levels, side)[-1] == "healthy"


def test_a_gradient_goes_towards_the_input_and_no_normalisation_stops_it() -> None:
    levels = {Quantity.GRADIENT_COUNT: 8.0, Quantity.GRADIENT_VARIANCE: [1e-9, 1e-9, 1e-9, 1e-6, 1e-3, 1e-3, 1.0]}
    head = linear(6, "head", inputs=("act2",))
    words = of_signal("vanishing-gradients", ("fc1", "fc2"), levels, head)
    # The activation behind the last layer at fault passes its gradient on; the head is where the gradient still is whole.
    assert words[:6] == [
        "grad vanishes",
        "grad vanishes",
        "grad vanishes !",
        "grad vanishes",
        "grad vanishes !",
        "grad vanishes",
    ]
    assert words[6] == "healthy"


def test_a_layer_that_was_not_measured_has_no_status_of_others() -> None:
    levels = {Quantity.VARIANCE: [1e2, math.nan, 1e4, 1e4, 1e6, 1e6]}
    assert of_signal("exploding-activations", ("fc0", "fc1", "fc2"), levels)[1] == "not measured"
