"""The CPU: there is no device to wait for, so that the numbers themselves may say whether the quick way will do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from init_monitor.measures.eager import fill_any, is_short_row, reduce_by
from init_monitor.measures.native import Native
from init_monitor.measures.partials import COUNT, HIGH, LOW, M2, MEAN
from init_monitor.measures.scratch import Sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from init_monitor.measures.kernel import Kernel
    from init_monitor.measures.partials import Partials, Reduction
    from init_monitor.measures.scratch import Scratch

CPU_BLOCK = 1 << 15
"""Elements that may wait: 128 kB, and as many again to stack them in."""

CPU_SCRATCH = 1 << 16
"""Elements of each of the two pieces of scratch: 512 kB. The monitor as a whole may take up 1 MB."""

CPU_PIECE = 1 << 18
"""Elements of a large tensor that are read at once: 1 MB, measured as the fastest of 2¹⁴ … 2²³."""

SIZES = Sizes(CPU_BLOCK, CPU_PIECE, CPU_SCRATCH, CPU_SCRATCH)

ORDINARY = 1e16
"""Elements between one over this and this have squares inside float32, those of elements a thousand times smaller
included; a sum of squares that leaves it is seen to be infinite."""

FAR_MEAN = 10.0
"""E[x²] below this many variances leaves the difference E[x²] - E[x]² within 10 · 2⁻²² of itself."""

FEW_ROWS = 16
"""Up to this many rows a dot product each is quicker than one pass that writes all squares."""


class Ordinary:
    """Reads ordinary elements (finite, of moderate size, their mean near 0) without writing, a third of the time."""

    def applies(self, block: Tensor, plan: Reduction) -> bool:  # noqa: ARG002 - all plans are the same to it
        """Say whether the tensors are on the CPU."""
        return block.device.type == "cpu"

    def reduce(self, block: Tensor, plan: Reduction, scratch: Scratch) -> Partials:
        """Reduce them, the quick way or the other."""
        return reduce_by(_fill, block, plan, scratch)


KERNELS: Sequence[Kernel] = (Native(), Ordinary())
"""Kernels that only run here, in the order in which they are asked."""


def _fill(x: Tensor, rows: Tensor, room: Scratch) -> None:
    if not fill_ordinary(x, rows, room):
        fill_any(x, rows, room)


def fill_ordinary(x: Tensor, rows: Tensor, room: Scratch) -> bool:
    """Fill in the moments by reading only, if the elements are ordinary.

    Args:
        x: ``[G, n]``, float32 or float64.
        rows: ``[G, WIDTH]``.
        room: memory to work in.

    Returns:
        False if they are not, and nothing was filled in: some are not finite, their squares leave the format, or the
        mean is so far from 0 that Σx² - (Σx)²/n would lose the variance.
    """
    n = x.shape[1]
    seen = _seen_of_short_row(x) if is_short_row(x) else _seen(x, room)
    low, high, total, energy = seen
    with np.errstate(all="ignore"):  # what is not finite is told apart below
        m2 = energy - total * total / n
    largest = np.maximum(np.abs(low), np.abs(high))
    quick = np.isfinite(seen).all() and np.all(
        (largest == 0) | ((largest > 1 / ORDINARY) & (largest < ORDINARY) & (energy < FAR_MEAN * m2))
    )
    if quick:
        # In place: every operation of torch costs what ten of numpy do on so few numbers.
        filled = rows.numpy()
        filled[:, COUNT], filled[:, MEAN], filled[:, M2] = n, total / n, np.maximum(m2, 0)
        filled[:, LOW], filled[:, HIGH] = low, high
    return bool(quick)


def _seen(x: Tensor, room: Scratch) -> NDArray[np.float64]:
    """Return minimum, maximum, Σx and Σx² of each row, ``[4, G]``."""
    if x.shape[0] <= FEW_ROWS:
        squares = torch.stack([torch.dot(row, row) for row in x])
    else:
        squares = torch.mul(x, x, out=room.like(x, 0)).sum(1)
    return torch.stack((x.amin(1), x.amax(1), x.sum(1), squares)).numpy().astype(np.float64)


def _seen_of_short_row(x: Tensor) -> NDArray[np.float64]:
    # Sums by torch: numpy's are slower, and its dot product may start threads of its own.
    row, numbers = x[0], x.numpy()
    with np.errstate(all="ignore"):
        found = numbers.min(), numbers.max(), row.sum().numpy(), torch.dot(row, row).numpy()
    return np.array(found, np.float64).reshape(4, 1)
