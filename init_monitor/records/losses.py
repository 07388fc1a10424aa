"""The training loss over the whole run, in a bounded amount of memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from init_monitor.records.once import Keeping, once

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)

MOST_STEPS = 16_384
"""Steps kept at most: 200 kB, and more points than any plot of the curve has pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class LossStretch:
    """The losses of some optimizer steps in a row: those between two records.

    Attributes:
        steps: ``[n]`` int64, the optimizer steps whose loss is known, ascending.
        values: ``[n]`` float32, their losses; NaN and infinity are what the training computed.
    """

    steps: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    values: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, float]]) -> LossStretch:
        """Make a stretch of (step, loss) pairs."""
        listed = list(pairs)
        with np.errstate(over="ignore"):  # a loss beyond float32 is shown as infinite
            values = np.array([value for _, value in listed], np.float64).astype(np.float32)
        return cls(np.array([step for step, _ in listed], np.int64), values)

    def __len__(self) -> int:
        """Count the steps."""
        return len(self.steps)


class LossCurve(Keeping):
    """The loss of every optimizer step: all of them at first, then every second, every fourth, and so on.

    The first and the newest step are always there, and the first step whose loss was not finite is remembered.

    Args:
        most_steps: steps kept at most.

    Attributes:
        first_nonfinite: the first step whose loss was NaN or infinite; ``None`` if there was none.
        seen: steps added so far.
    """

    def __init__(self, most_steps: int = MOST_STEPS) -> None:
        self._most = most_steps
        self._stride = 1
        self._pairs: list[tuple[int, float]] = []
        self.seen = 0
        self.first_nonfinite: int | None = None

    def add(self, stretch: LossStretch) -> None:
        """Append the losses of the steps that followed; of a step that was run again, the newer one counts."""
        self.forget()
        for step, value in zip(stretch.steps.tolist(), stretch.values.tolist(), strict=True):
            while self._pairs and self._pairs[-1][0] >= step:
                self._pairs.pop()
                self.seen -= 1
            if self.first_nonfinite is not None and step <= self.first_nonfinite:
                self.first_nonfinite = None
            self._add(step, value)

    def _add(self, step: int, value: float) -> None:
        if self.first_nonfinite is None and not np.isfinite(value):
            self.first_nonfinite = step
        if self._pairs and (self.seen - 1) % self._stride:
            self._pairs.pop()  # the newest so far fell between the strides
        self._pairs.append((step, value))
        if self.seen % self._stride == 0 and len(self._pairs) > self._most:
            newest = () if len(self._pairs) % 2 else self._pairs[-1:]
            self._pairs = [*self._pairs[::2], *newest]
            self._stride *= 2
        self.seen += 1

    def __len__(self) -> int:
        """Count the steps that are kept."""
        return len(self._pairs)

    @property
    def stride(self) -> int:
        """One step in this many is kept."""
        return self._stride

    @property
    @once
    def steps(self) -> NDArray[np.int64]:
        """The optimizer steps that are kept, ascending."""
        return _fixed(np.array([step for step, _ in self._pairs], np.int64))

    @property
    @once
    def values(self) -> NDArray[np.float32]:
        """Their losses."""
        return _fixed(np.array([value for _, value in self._pairs], np.float32))

    @property
    def nonfinite_from(self) -> int | None:
        """The step from which no loss was finite any more; ``None`` if the last one is finite or none is known."""
        if not self._pairs or np.isfinite(self._pairs[-1][1]):
            return None
        finite = np.flatnonzero(np.isfinite(self.values))
        after = int(finite[-1]) + 1 if len(finite) else 0
        first, kept = self.first_nonfinite, self._pairs[after][0]
        # Steps between the kept ones were dropped, so the first non-finite one is stored separately.
        known = first is not None and first <= kept and (not after or self._pairs[after - 1][0] < first)
        return first if known else kept

    def since(self, step: int) -> LossStretch:
        """Return what is kept of the steps from ``step`` on."""
        steps, values = self.steps, self.values
        inside = steps >= step
        return LossStretch(steps[inside], values[inside])


def _fixed(array: NDArray[Number]) -> NDArray[Number]:
    array.flags.writeable = False
    return array
