"""How a quantity grows with the width of a network: a power of the width, fitted over the same network at several widths.

What a network of infinite width needs (Yang et al. 2021, "Tensor Programs IV"; Yang et al. 2022, "Tensor Programs V",
appendix D.1, the coordinate check): the size of every output, and what a training step changes of it, do not depend on the width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LEAST_WIDTHS = 2
"""A line has two points."""


@dataclass(frozen=True, slots=True)
class Growth:
    """A quantity at several widths, and the power of the width that it goes with.

    Attributes:
        slope: of its logarithm over that of the width: 0 does not depend on the width, 0.5 grows as its square root.
            NaN if it is known and not 0 at fewer than two widths.
        error: standard error of the slope over widths and seeds; NaN where two points leave none.
        values: at each width, the geometric mean over the seeds; 0, infinite or NaN where that is what was seen.
    """

    slope: float
    error: float
    values: tuple[float, ...]

    def is_off(self, tolerance: float) -> bool:
        """Say whether the slope differs from 0 by more than ``tolerance``, and by more than two standard errors."""
        doubt = 0.0 if math.isnan(self.error) else 2 * self.error
        return abs(self.slope) > max(tolerance, doubt)

    @property
    def is_zero(self) -> bool:
        """True if it is exactly 0 at every width."""
        return all(value == 0 for value in self.values)

    @property
    def is_finite(self) -> bool:
        """True if it is finite at every width."""
        return all(map(math.isfinite, self.values))


def growth(widths: Sequence[int], sizes: NDArray[np.float64]) -> Growth:
    """Fit a power of the width by least squares on logarithms.

    >>> round(growth((64, 256), np.array([[1.0, 2.0]])).slope, 6)
    0.5

    Args:
        widths: of the networks.
        sizes: shape [seeds, widths]; what is 0 or not finite has no logarithm and is left out of the fit.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(sizes)
    x = np.broadcast_to(np.log(np.asarray(widths, float)), logs.shape)
    known = np.isfinite(logs)
    values = tuple(float(value) for value in np.exp(logs.mean(axis=0)))
    if len(np.unique(x[known])) < LEAST_WIDTHS:
        return Growth(math.nan, math.nan, values)
    off_x, off_y = x[known] - x[known].mean(), logs[known] - logs[known].mean()
    spread = float(off_x @ off_x)
    slope = float(off_x @ off_y) / spread
    free = int(known.sum()) - 2
    rest = float(np.square(off_y - slope * off_x).sum())
    return Growth(slope, math.sqrt(rest / free / spread) if free else math.nan, values)


@dataclass(frozen=True, slots=True)
class LayerGrowth:
    """How one layer's output goes with the width. Every size is a root mean square over all elements.

    Attributes:
        layer: qualified name; with ``#k`` the k-th call in a forward. ``output`` is what the network returns.
        kind: which sides of its weight grow with the width: ``input`` (what it makes), ``output`` (what it takes),
            ``hidden`` (both), ``fixed`` (neither), or empty if it has no weight of its own.
        start: size before the first step.
        after: size after the last one.
        change: what a step changes, the root mean square over the steps.
        own: the part of that which the layer's own update makes: its input is held at what it was before the step.
        given: the change of its input.
        taken: size of its input before the first step.
    """

    layer: str
    kind: str
    start: Growth
    after: Growth
    change: Growth
    own: Growth
    given: Growth
    taken: Growth
