"""What the table says of a layer that no finding names but that passes on what is wrong."""

from __future__ import annotations

from builders import linear, norm, record, rectifier

from init_monitor import Finding, Severity, Structure
from init_monitor.display.layer_status import statuses
from init_monitor.records.quantities import Quantity


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
