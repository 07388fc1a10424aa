"""What is asked of a reduction, and what comes of it: the words of both sides of :func:`init_monitor.measures.reduce`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor

COUNT, MEAN, M2, LOW, HIGH, ZEROS, NONFINITE, SATURATED = range(8)
WIDTH = 8
"""Columns of a partial row: finite elements, their mean, Σ(x-mean)², minimum, maximum, exact zeros, non-finite
elements, elements beyond the knee."""


class Layout(NamedTuple):
    """Which dimension of a tensor counts the samples and which the units; every other one is a position.

    Attributes:
        sample: dimension of the batch.
        unit: dimension of the channels or features.
    """

    sample: int
    unit: int


class Knee(NamedTuple):
    """Where a bounded activation counts as saturated: ``|y - centre| >= reach``."""

    centre: float
    reach: float


class Reduction(NamedTuple):
    """What to reduce of a tensor besides its moments.

    Attributes:
        layout: samples and units; ``None`` if they are not to be looked at.
        rectifier: keep each unit's extremes.
        knee: count the elements beyond it.
        zeros: count exact zeros (a pass that writes; where nobody asks for them it is spared).
    """

    layout: Layout | None = None
    rectifier: bool = False
    knee: Knee | None = None
    zeros: bool = True


MOMENTS = Reduction()
"""Nothing besides."""

MOMENTS_ONLY = Reduction(zeros=False)
"""Nothing besides, and zeros are not counted."""


class UnitSums(NamedTuple):
    """What the units of ``G`` tensors did.

    Attributes:
        sums: ``[G, U]`` Σ over samples of the mean signal.
        squares: ``[G]`` Σ over samples and units of its square.
        highs, lows: ``[G, U]`` largest and smallest value of each unit, ``None`` unless asked for.
    """

    sums: Tensor
    squares: Tensor
    highs: Tensor | None = None
    lows: Tensor | None = None


class Partials(NamedTuple):
    """The outcome of a reduction, on the device of the tensors.

    Attributes:
        rows: ``[K·G, WIDTH]``, in float64 where the device has it: one row for each of ``G`` tensors, or ``K`` for a
            single one that was read in pieces. A row without finite elements has count 0, mean 0, ``low = +inf`` and
            ``high = -inf``, the neutral element of :func:`init_monitor.measures.merge`.
        units: of the same tensors, ``None`` without a layout or without elements.
    """

    rows: Tensor
    units: UnitSums | None = None


def wide_dtype(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on devices that have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the format a tensor is reduced in: float64 stays, every narrower format becomes float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32
