"""Merged rows, on the host, as the numbers of a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from init_monitor.measures.merge import merge
from init_monitor.measures.partials import COUNT, HIGH, LOW, M2, MEAN, NONFINITE, SATURATED, ZEROS
from init_monitor.measures.reduce import reduce
from init_monitor.records import Moments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor


def finalise(rows: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
    """Turn merged rows ``[R, WIDTH]`` into named columns of length R; NaN where no finite element was seen."""
    count = rows[:, COUNT]
    some = np.where(count > 0, count, np.nan)
    mean, variance = rows[:, MEAN] + 0 * some, rows[:, M2] / some
    return {
        "count": count,
        "mean": mean,
        "variance": variance,
        "mean_square": variance + mean * mean,
        "abs_max": np.maximum(np.abs(rows[:, LOW]), np.abs(rows[:, HIGH])) + 0 * some,
        "zero_fraction": rows[:, ZEROS] / some,
        "nonfinite_count": rows[:, NONFINITE],
        "saturated_fraction": rows[:, SATURATED] / some,
    }


def moments(x: Tensor) -> Moments:
    """Reduce one floating tensor of any shape; the whole pipeline in one call, for tests and notebooks.

    >>> import torch
    >>> m = moments(torch.tensor([1.0, 3.0, float("nan")]))
    >>> m.count, m.mean, m.variance, m.nonfinite_count
    (2, 2.0, 1.0, 1)
    """
    with torch.no_grad():
        rows = reduce(x.detach().unsqueeze(0)).rows
        if rows.shape[0] > 1:
            rows = merge(rows, torch.zeros(rows.shape[0], dtype=torch.int64, device=rows.device), 1)
    columns = finalise(rows.cpu().double().numpy())
    return Moments(
        count=int(columns["count"][0]),
        mean=float(columns["mean"][0]),
        variance=float(columns["variance"][0]),
        mean_square=float(columns["mean_square"][0]),
        abs_max=float(columns["abs_max"][0]),
        zero_fraction=float(columns["zero_fraction"][0]),
        nonfinite_count=int(columns["nonfinite_count"][0]),
    )
