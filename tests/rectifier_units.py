"""A rectifier whose units are off or always on in given shares, and the two rules that judge them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builders import history, linear, rectifier

from init_monitor.records import Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import DeadReLU, LinearRegime

if TYPE_CHECKING:
    from init_monitor.records import Finding, History

PAIR = Structure((linear(0, "net.0", activation="ReLU"), rectifier(1, "net.1", inputs=("net.0",))))


def units(
    dead: float, positive: float = 0.0, *, samples: float = 4096, structure: Structure = PAIR, **columns: Any
) -> History:
    """Return one record in which these shares of 512 units are dead, and always positive."""
    return history(
        structure,
        {
            Quantity.DEAD_FRACTION: dead,
            Quantity.ALL_POSITIVE_FRACTION: positive,
            Quantity.UNIT_SAMPLES: samples,
            Quantity.UNIT_COUNT: 512,
            **{Quantity(name): value for name, value in columns.items()},
        },
    )


def dead(past: History) -> list[Finding]:
    """Return what IM301 finds."""
    return list(DeadReLU().judge(past))


def straight(past: History) -> list[Finding]:
    """Return what IM302 finds."""
    return list(LinearRegime().judge(past))
