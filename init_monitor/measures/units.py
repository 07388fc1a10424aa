"""What single units and single samples did: signs of rectifiers, and how much of a layer's variance is between samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from init_monitor.measures.partials import Layout, Reduction, UnitSums, wide_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor


def unit_sums(block: Tensor, plan: Reduction) -> UnitSums | None:
    """Reduce the units of ``[G, ...]``, of any floating format; ``None`` without a layout or without elements."""
    if plan.layout is None or not block.numel():
        return None
    wide = block if block.dtype == torch.float64 else block.float()
    sums, squares = sample_signal(wide, plan.layout)
    return UnitSums(sums, squares, *(unit_extremes(wide, plan.layout) if plan.rectifier else ()))


def unit_extremes(block: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """Return the largest and the smallest value of each unit over samples and positions, ``[G, U]`` each.

    A rectifier's output keeps the sign of its pre-activation, so that the three categories of Shao et al. (2020,
    A.2) follow: largest <= 0 is *all negative*, smallest > 0 is *all positive*, anything else is *nonlinear*.
    """
    others = [d for d in range(1, block.dim()) if d != layout.unit + 1]
    return block.amax(others), block.amin(others)


def sample_signal(block: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """Reduce each sample to its mean signal (per unit, over positions), and that over the samples.

    Returns:
        Σ over samples of the mean signal, ``[G, U]``, and Σ over samples and units of its square, ``[G]``; both
        in float64. :func:`between_sample_share` makes the share of them. Where a sample has one position only, the
        squares are NaN: they are those of the elements, which the partial row has already.
    """
    positions = [d for d in range(1, block.dim()) if d not in {layout.sample + 1, layout.unit + 1}]
    wide = wide_dtype(block.device)
    others = [d for d in range(1, block.dim()) if d != layout.unit + 1]
    if not positions:
        # Wide: the share is a difference of squares, which a large mean would swallow in float32.
        return block.sum(others, dtype=wide), torch.full((block.shape[0],), torch.nan, dtype=wide, device=block.device)
    signal = block.mean(positions, keepdim=True).to(wide)
    return signal.sum(others), signal.square().sum(list(range(1, block.dim())))


def between_sample_share(sums: NDArray[np.float64], squares: float, samples: float, variance: float) -> float:
    """Return the share of one layer: see :func:`between_sample_shares`."""
    return float(between_sample_shares([sums], np.array([squares]), np.array([samples]), np.array([variance]))[0])


def position_shares(
    energy: NDArray[np.float64],
    squares: NDArray[np.float64],
    samples: NDArray[np.number[Any]],
    units: NDArray[np.number[Any]],
    variance: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the variance between the positions of a sample as a share of the total variance, by layer.

    E over positions of x² - (mean over positions)², averaged over samples and units. 0 means that all positions of a sample
    get the same representation, whatever the samples do; up to rounding, of either sign before it is taken as a size.

    Args:
        energy: of each layer, E[x²] over all of it.
        squares: Σ over samples and units of the square of the mean signal; NaN where a sample has one position.
        samples: how many samples.
        units: how many units.
        variance: of the whole layer; if it is 0 the share is NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        within = np.abs(energy - squares / (samples * units)) / variance
        return np.where((samples > 0) & (variance > 0) & np.isfinite(within), np.minimum(within, 1.0), np.nan)


def between_sample_shares(
    sums: Sequence[NDArray[np.float64]],
    squares: NDArray[np.float64],
    samples: NDArray[np.number[Any]],
    variance: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the variance between the samples' mean signals as a share of the total variance, in [0, 1], by layer.

    The mean signal of a sample is one number per unit (its mean over positions); the variance over samples is
    averaged over the units. 0 means that all samples get the same representation (sample collapse).

    Args:
        sums: of each layer, ``[U]`` Σ over samples of the mean signal.
        squares: Σ over samples and units of its square.
        samples: how many samples; below 2 nothing can be said and the result is NaN.
        variance: of the whole layer; if it is 0 the share is NaN.
    """
    units = np.array([layer.size for layer in sums])
    means = np.empty(len(units))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # Layers of as many units at once.
        for size in np.unique(units):
            alike = np.flatnonzero(units == size)
            means[alike] = ((np.array([sums[i] for i in alike.tolist()]) / samples[alike, None]) ** 2).mean(axis=1)
        between = squares / (samples * units) - means
        known = (samples > 1) & (variance > 0) & np.isfinite(between)
        return np.where(known, np.clip(between / variance, 0.0, 1.0), np.nan)
