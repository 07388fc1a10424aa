r"""Tensor in, moments out: every reduction the monitor makes, on the tensor's own device, without a host sync.

A *block* is a stack of ``G`` tensors of one shape, ``[G, ...]``; :func:`reduce_block` turns it into ``G`` *partial
rows*. Rows of any origin (chunks of one tensor, micro-batches, ranks) are combined by :func:`merge`, which is
associative, so that one routine serves all three. :func:`finalise` turns merged rows into the numbers of a record.

Accuracy. Unless the elements are ordinary (finite, of moderate size, their mean near 0), each row is shifted by a pivot
(the mean of a few of its elements) and divided by its largest absolute value before anything is squared, so that neither
a mean of 1e4 with a standard deviation of 0.1, nor a signal of 1e-30 or 1e30, loses its variance in float32. Merging is done in float64 by the pairwise update of Chan, Golub and
LeVeque (1979): never as E[x²] - E[x]².
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from init_monitor.records import Moments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

COUNT, MEAN, M2, LOW, HIGH, ZEROS, NONFINITE, SATURATED = range(8)
WIDTH = 8
"""Columns of a partial row: finite elements, their mean, Σ(x-mean)², minimum, maximum, exact zeros, non-finite
elements, elements beyond the knee."""

PIVOT_SAMPLE = 32
"""Elements behind a row's pivot. With k elements the pivot is off by at most the largest outlier over k, which bounds
the cancellation error by n·2⁻²⁴/k² of the variance: 2e-5 for n = 2¹⁸ in the worst case, 1e-7 for ordinary data."""

ORDINARY = 1e16
"""Elements between one over this and this have squares inside float32, those of elements a thousand times smaller
included; a sum of squares that leaves it is seen to be infinite."""

FAR_MEAN = 10.0
"""E[x²] below this many variances leaves the difference E[x²] - E[x]² within 10 · 2⁻²² of itself."""

FEW_ROWS = 16
"""Up to so many rows a dot product each is quicker than one pass that writes all squares."""

SHORT_ROW = 1 << 16
"""A row of its own of up to so many elements is read by numpy: it has one thread, but starts five times as fast."""

SMALLEST_SCALE = 1e-37
"""Rows whose largest deviation is below this are scaled by it: 1/scale must stay finite in float32."""


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


def wide_dtype(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on devices that have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the format a tensor is reduced in: float64 stays, every narrower format becomes float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _pivot(x: Tensor) -> Tensor:
    stride = max(1, x.shape[1] // PIVOT_SAMPLE)
    sample = x[:, ::stride][:, :PIVOT_SAMPLE]
    # (inf - inf) is NaN, so that only finite elements are left for nanmean.
    return torch.nan_to_num(torch.nanmean(sample + (sample - sample), dim=1, keepdim=True), nan=0.0)


class Scratch:
    """Memory to work in, kept between blocks: fresh pages cost more than the arithmetic that is done in them."""

    def __init__(self, elements: int, device: torch.device) -> None:
        """Keep room for two blocks of so many elements."""
        self._room = torch.empty(2, elements, dtype=torch.float32, device=device)

    def like(self, x: Tensor, which: int) -> Tensor:
        """Return the first or second piece of memory in the shape of ``x``, with any content."""
        if x.dtype != self._room.dtype or x.numel() > self._room.shape[1] or x.device != self._room.device:
            return torch.empty_like(x, memory_format=torch.contiguous_format)
        return self._room[which, : x.numel()].view(x.shape)

    def pieces(self, x: Tensor) -> Sequence[Tensor]:
        """Cut ``x`` between its columns so that each piece fits; without any memory there is nothing to fit in."""
        columns = self._room.shape[1] // x.shape[0]
        return x.split(columns, 1) if 0 < columns < x.shape[1] and x.dtype == self._room.dtype else (x,)


def reduce_block(
    block: Tensor, knee: Knee | None = None, *, zeros: bool = True, scratch: Scratch | None = None
) -> Tensor:
    """Reduce each of ``G`` stacked tensors to a partial row.

    Args:
        block: ``[G, ...]``, floating; narrower formats than float32 are widened.
        knee: where the elements count as saturated, for bounded activations.
        zeros: count exact zeros (a pass that writes, where nobody asks for them it is spared).
        scratch: memory to work in.

    Returns:
        ``[G, WIDTH]`` in float64 on the same device. A row without finite elements has count 0, mean 0,
        ``low = +inf`` and ``high = -inf``, the neutral element of :func:`merge`.
    """
    x = block.reshape(block.shape[0], -1).to(working_dtype(block.dtype))
    rows = torch.zeros(x.shape[0], WIDTH, dtype=wide_dtype(x.device), device=x.device)
    if x.shape[1] == 0:
        rows[:, LOW], rows[:, HIGH] = torch.inf, -torch.inf
        return rows
    room = scratch or Scratch(0, x.device)
    # Beside the CPU there is no device to wait for, so the numbers themselves may say whether the quick way will do.
    if x.device.type != "cpu" or not _reduce_ordinary(x, rows, room):
        _reduce_in_pieces(x, rows, room)
    pieces = room.pieces(x)
    if zeros and _is_short_row(x):
        rows.numpy()[0, ZEROS] = np.count_nonzero(x.numpy() == 0)
    elif zeros:
        rows[:, ZEROS] = sum(torch.eq(piece, 0, out=room.like(piece, 0)).sum(1) for piece in pieces)
    if knee is not None:
        rows[:, SATURATED] = sum(_beyond(piece, knee, room) for piece in pieces)
    return rows


def _is_short_row(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.shape[0] == 1 and x.shape[1] <= SHORT_ROW


def _beyond(x: Tensor, knee: Knee, room: Scratch) -> Tensor:
    distance = torch.sub(x, knee.centre, out=room.like(x, 0)).abs_()
    return torch.ge(distance, knee.reach, out=distance).sum(1)


def _reduce_in_pieces(x: Tensor, rows: Tensor, room: Scratch) -> None:
    """Fill in all but zeros and saturation within the memory there is."""
    pieces = room.pieces(x)
    if len(pieces) == 1:
        _reduce_any(x, rows, room)
        return
    parts = rows.new_zeros(len(pieces) * x.shape[0], WIDTH)
    for part, piece in zip(parts.split(x.shape[0]), pieces, strict=True):
        _reduce_any(piece, part, room)
    rows.copy_(merge(parts, torch.arange(x.shape[0], device=x.device).repeat(len(pieces)), x.shape[0]))


def _reduce_any(x: Tensor, rows: Tensor, room: Scratch) -> None:
    """Fill in all but zeros and saturation, whatever the elements are, without looking at any number."""
    pivot = _pivot(x)
    work, clean = room.like(x, 0), room.like(x, 1)
    torch.sub(x, pivot, out=work)
    torch.nan_to_num(work, nan=0.0, posinf=0.0, neginf=0.0, out=clean)
    nonfinite = torch.ne(work, clean, out=work).sum(1)
    low, high = clean.amin(1), clean.amax(1)
    scale = torch.maximum(low.abs(), high.abs()).clamp_min_(SMALLEST_SCALE)
    torch.div(clean, scale.unsqueeze(1), out=work)
    total = work.sum(1).to(rows.dtype)
    squares = torch.mul(work, work, out=clean).sum(1).to(rows.dtype)
    count = x.shape[1] - nonfinite.to(rows.dtype)
    empty = count == 0
    spread, shift, some = scale.to(rows.dtype), pivot.squeeze(1).to(rows.dtype), count.clamp_min(1)
    rows[:, COUNT] = count
    rows[:, MEAN] = torch.where(empty, 0, shift + spread * total / some)
    rows[:, M2] = spread * spread * (squares - total * total / some).clamp_min_(0)
    rows[:, LOW] = torch.where(empty, torch.inf, low.to(rows.dtype) + shift)
    rows[:, HIGH] = torch.where(empty, -torch.inf, high.to(rows.dtype) + shift)
    rows[:, NONFINITE] = nonfinite.to(rows.dtype)


def _reduce_ordinary(x: Tensor, rows: Tensor, room: Scratch) -> bool:
    """Fill in the same by reading only, a third of the time, if the elements are ordinary.

    Returns:
        False if they are not, and nothing was filled in: some are not finite, their squares leave the format, or the
        mean is so far from 0 that Σx² - (Σx)²/n would lose the variance.
    """
    n = x.shape[1]
    seen = _seen_of_short_row(x) if _is_short_row(x) else _seen(x, room)
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


def _positions(block: Tensor, layout: Layout) -> list[int]:
    return [d for d in range(1, block.dim()) if d not in {layout.sample + 1, layout.unit + 1}]


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
    positions = _positions(block, layout)
    wide = wide_dtype(block.device)
    others = [d for d in range(1, block.dim()) if d != layout.unit + 1]
    if not positions:
        # Wide: the share is a difference of squares, which a large mean would swallow in float32.
        return block.sum(others, dtype=wide), torch.full((block.shape[0],), torch.nan, dtype=wide, device=block.device)
    signal = block.mean(positions, keepdim=True).to(wide)
    return signal.sum(others), signal.square().sum(list(range(1, block.dim())))


def between_sample_share(sums: NDArray[np.float64], squares: float, samples: float, variance: float) -> float:
    """Return the variance between the samples' mean signals as a share of the total variance, in [0, 1].

    The mean signal of a sample is one number per unit (its mean over positions); the variance over samples is
    averaged over the units. 0 means that all samples get the same representation (sample collapse).

    Args:
        sums: ``[U]`` Σ over samples of the mean signal.
        squares: Σ over samples and units of its square.
        samples: how many samples; below 2 nothing can be said and the result is NaN.
        variance: of the whole layer; if it is 0 the share is NaN.
    """
    if samples < 2 or not variance > 0:  # noqa: PLR2004 - a variance over samples needs two of them
        return float("nan")
    between = squares / (samples * sums.size) - float(np.mean((sums / samples) ** 2))
    return min(1.0, max(0.0, between / variance)) if np.isfinite(between) else float("nan")


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
        columns = finalise(reduce_block(x.detach().unsqueeze(0)).cpu().double().numpy())
    return Moments(
        count=int(columns["count"][0]),
        mean=float(columns["mean"][0]),
        variance=float(columns["variance"][0]),
        mean_square=float(columns["mean_square"][0]),
        abs_max=float(columns["abs_max"][0]),
        zero_fraction=float(columns["zero_fraction"][0]),
        nonfinite_count=int(columns["nonfinite_count"][0]),
    )
