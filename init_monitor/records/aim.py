"""What a remedy is for, as a number: what a network shows once its code has been run, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf, isfinite

from init_monitor.records.numbers import number


class Measure(str, Enum):
    """What a remedy may aim at; the value is how a sentence names it."""

    GROWTH = "variance growth per layer"
    GRADIENT_GROWTH = "gradient variance growth per layer"
    BLOCK_GROWTH = "variance growth per block"
    SATURATED = "saturated share"
    DEAD = "dead share of the units"
    INPUT = "input std"
    OUTPUT = "output std"
    SAMPLES = "between-sample share"
    WEIGHT = "weight variance over that of its initialiser"

    def __str__(self) -> str:
        """Return the words."""
        return self.value


@dataclass(frozen=True, slots=True)
class Aim:
    """A number that a remedy brings into a range, at step 0.

    Attributes:
        measure: what is measured.
        layers: names of the layers it is measured on; for a growth, those of one chain, for a block's, of its additions.
        low, high: the range.
    """

    measure: Measure
    layers: tuple[str, ...] = ()
    low: float = -inf
    high: float = inf

    def __str__(self) -> str:
        """Say it.

        >>> str(Aim(Measure.GROWTH, ("net.0", "net.2"), 0.9, 1.1)), str(Aim(Measure.DEAD, high=0.4))
        ('variance growth per layer 0.9 to 1.1', 'dead share of the units 0.4 or less')
        """
        if isfinite(self.low) and isfinite(self.high):
            return f"{self.measure} {_short(self.low)} to {_short(self.high)}"
        bound = f"{_short(self.high)} or less" if isfinite(self.high) else f"{_short(self.low)} or more"
        return f"{self.measure} {bound}"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Whether a network shows what a remedy aims at.

    Attributes:
        aim: the range.
        measured: the number; NaN where the network no longer has what it is measured on, or it was not measured.
    """

    aim: Aim
    measured: float

    @property
    def holds(self) -> bool:
        """Whether the number lies in the range; NaN does not."""
        return self.aim.low <= self.measured <= self.aim.high

    def __str__(self) -> str:
        """Say it.

        >>> print(Confirmation(Aim(Measure.GROWTH, (), 0.9, 1.1), 1.02))
        variance growth per layer: 1.02, as expected (0.9 to 1.1)
        """
        span = str(self.aim).removeprefix(f"{self.aim.measure} ")
        word = "as expected" if self.holds else "not as expected"
        return f"{self.aim.measure}: {number(self.measured)}, {word} ({span})"


def _short(bound: float) -> str:
    return number(float(f"{bound:.2g}"))
