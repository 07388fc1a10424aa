"""Which units of a rectifier were alive lately: exact over every sample of the last sampled steps, in constant memory.

Instead of a bit per unit and step, two numbers per unit are kept: when it last saw a positive pre-activation, and when
a non-positive one. Over any window that ends now, a unit is *all negative* if its last positive lies before the window,
and *all positive* if its last non-positive does.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.records import Units

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENOUGH_POSITIONS = 4096
"""The window reaches back until each unit was seen at this many positions: a unit active once in a thousand is then
called dead with probability (1 - 10⁻³)⁴⁰⁹⁶ = 1.7 %. It is also the sample of the reference experiment (Fig. 3)."""

LEAST_STEPS = 8
"""The window holds at least this many sampled steps (if there were that many): the positions of one image are alike, and
one batch says little about a detector of rare features."""

DEAD_RATE = 3e-3
"""A unit that fires on a smaller part of the positions is called dead: one in a thousand is what 1,000 positions without
any show with 95 % confidence (the rule of three)."""

_NEVER = -1


@dataclass(slots=True)
class UnitWindow:
    """The recent past of one layer's units.

    Attributes:
        longest: how many sampled steps are looked back on at most.
    """

    longest: int
    _now: int = 0
    _last_positive: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _last_nonpositive: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _positions: deque[int] = field(default_factory=deque)

    def add(self, positive: NDArray[np.bool_], nonpositive: NDArray[np.bool_], positions: int) -> None:
        """Take one sampled step: per unit, whether it saw each sign, and how many positions it was seen at."""
        if positive.size != self._last_positive.size:
            self._last_positive = np.full(positive.size, _NEVER, np.int64)
            self._last_nonpositive = np.full(positive.size, _NEVER, np.int64)
            self._positions.clear()
        self._last_positive[positive] = self._now
        self._last_nonpositive[nonpositive] = self._now
        self._positions.append(positions)
        while len(self._positions) > self.longest:
            self._positions.popleft()
        self._now += 1

    @property
    def latest(self) -> int:
        """Positions that each unit was seen at in the latest step; 0 before the first."""
        return self._positions[-1] if self._positions else 0

    @property
    def positions(self) -> int:
        """Positions that each unit was seen at in all steps that are remembered."""
        return sum(self._positions)

    def read(self) -> Units:
        """Return the three categories over the shortest window that is long enough."""
        steps = samples = 0
        for positions in reversed(self._positions):
            if steps >= LEAST_STEPS and samples >= ENOUGH_POSITIONS:
                break
            steps, samples = steps + 1, samples + positions
        since = self._now - steps
        count = self._last_positive.size
        return Units(
            count=count,
            samples=samples,
            dead_fraction=float(np.mean(self._last_positive < since)) if count else float("nan"),
            all_positive_fraction=float(np.mean(self._last_nonpositive < since)) if count else float("nan"),
            dead_at_least=self._dead_at_least(steps) if count else float("nan"),
        )

    def _dead_at_least(self, steps: int) -> float:
        """Return the share of units that fire on fewer than :data:`DEAD_RATE` of the positions, with 95 % confidence.

        Pooled over the layer, few positions per unit tell it. A unit of rate p is silent in all n positions with probability
        exp(−pn), and fires in the older m of them alone with exp(−p(n−m)) (1 − exp(−pm)): exp(pm) − 1 times as often. So of
        the silent units at most as many have a rate of ``DEAD_RATE`` or more as fell silent between the two parts, over
        exp(DEAD_RATE · m) − 1. Their number is bounded like that of any rare event (Poisson, 95 %).
        """
        if steps < 2:  # noqa: PLR2004 - two parts
            return float("nan")
        positions = np.asarray(list(self._positions)[-steps:], np.float64)
        older = np.cumsum(positions)[:-1]
        split = int(np.argmin(np.abs(older - positions.sum() / 2)))
        begin, middle = self._now - steps, self._now - steps + split + 1
        silent = int(np.sum(self._last_positive < begin))
        fell = int(np.sum((self._last_positive >= begin) & (self._last_positive < middle)))
        most = fell + 1.645 * math.sqrt(fell) + 3.0
        rare = most / math.expm1(min(DEAD_RATE * float(older[split]), 50.0)) if older[split] > 0 else math.inf
        return max(0.0, silent - rare) / self._last_positive.size

    def state_dict(self) -> dict[str, list[int]]:
        """Return the window as plain lists, relative to now, so that a resumed run can go on with it."""
        return {
            "positive": (self._last_positive - self._now).tolist(),
            "nonpositive": (self._last_nonpositive - self._now).tolist(),
            "positions": list(self._positions),
        }

    def load_state_dict(self, state: dict[str, list[int]]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self._now = 0
        self._last_positive = np.asarray(state["positive"], np.int64)
        self._last_nonpositive = np.asarray(state["nonpositive"], np.int64)
        self._positions = deque(state["positions"])
