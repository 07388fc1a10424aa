"""What a remedy is for, as a number: what a network shows once its code has been run, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf, isfinite

from init_monitor.records.numbers import number


class Measure(str, Enum):
    """What a remedy may aim at; the value is how a sentence names it."""

    GROWTH = "growth of the signal's variance per layer"
    GRADIENT_GROWTH = "growth of the gradient's variance per layer"
    BLOCK_GROWTH = "growth of the variance per residual block"
    SATURATED = "share of saturated elements"
    DEAD = "share of dead units"
    INPUT = "standard deviation of the input"
    OUTPUT = "standard deviation of the output"
    SAMPLES = "share of the variance between samples"
    WEIGHT = "variance of the weights over what their initialiser draws"

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
        ("a growth of the signal's variance per layer of 0.9 to 1.1", 'a share of dead units of 0.4 or less')
        """
        if isfinite(self.low) and isfinite(self.high):
            return f"a {self.measure} of {number(self.low)} to {number(self.high)}"
        bound = f"{number(self.high)} or less" if isfinite(self.high) else f"{number(self.low)} or more"
        return f"a {self.measure} of {bound}"


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
        growth of the signal's variance per layer: 1.02, as expected (0.9 to 1.1)
        """
        low, high = self.aim.low, self.aim.high
        span = (
            f"{number(low)} to {number(high)}"
            if isfinite(low) and isfinite(high)
            else str(self.aim).rpartition(" of ")[2]
        )
        word = "as expected" if self.holds else "not as expected"
        return f"{self.aim.measure}: {number(self.measured)}, {word} ({span})"
