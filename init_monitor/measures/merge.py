"""Rows of any origin (pieces of one tensor, micro-batches, ranks) put together.

In float64, by the pairwise update of Chan, Golub and LeVeque (1979): never as E[x²] - E[x]². Merging is associative, so
that one routine serves all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from init_monitor.measures.partials import COUNT, HIGH, LOW, M2, MEAN, NONFINITE, SATURATED, WIDTH, ZEROS

if TYPE_CHECKING:
    from torch import Tensor


def merge(partials: Tensor, index: Tensor, rows: int) -> Tensor:
    """Combine partial rows that belong together.

    Args:
        partials: ``[P, WIDTH]`` partial rows.
        index: ``[P]`` int64, the target row of each.
        rows: how many target rows there are.

    Returns:
        ``[rows, WIDTH]``. Rows that nothing was merged into are neutral. Source: Chan, Golub, LeVeque 1979, Eq. 2.1.
    """
    result = torch.zeros(rows, WIDTH, dtype=partials.dtype, device=partials.device)
    for column in (COUNT, ZEROS, NONFINITE, SATURATED):
        result[:, column].index_add_(0, index, partials[:, column])
    count = result[:, COUNT].clamp_min(1)
    mean = torch.zeros_like(count).index_add_(0, index, partials[:, COUNT] * partials[:, MEAN]) / count
    result[:, MEAN] = mean
    offset = partials[:, MEAN] - mean[index]
    result[:, M2].index_add_(0, index, partials[:, M2] + partials[:, COUNT] * offset * offset)
    for column, reduction, neutral in ((LOW, "amin", torch.inf), (HIGH, "amax", -torch.inf)):
        extreme = torch.full_like(count, neutral)
        result[:, column] = extreme.scatter_reduce_(0, index, partials[:, column], reduction)
    return result


def rescale(rows: Tensor, factor: Tensor) -> Tensor:
    """Return the partial rows of ``factor · x``, where ``rows`` are those of ``x``.

    Args:
        rows: ``[P, WIDTH]`` partial rows.
        factor: ``[P]``, positive.
    """
    scaled = rows.clone()
    scaled[:, M2] *= factor * factor
    for column in (MEAN, LOW, HIGH):
        scaled[:, column] *= factor
    return scaled
