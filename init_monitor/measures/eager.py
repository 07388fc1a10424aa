"""The kernel that works on every device, in torch's own operations and without looking at any number.

Each row is shifted by a pivot (the mean of a few of its elements) and divided by its largest absolute value before
anything is squared, so that neither a mean of 1e4 with a standard deviation of 0.1, nor a signal of 1e-30 or 1e30, loses
its variance in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from init_monitor.measures.merge import merge
from init_monitor.measures.partials import (
    COUNT,
    HIGH,
    LOW,
    M2,
    MEAN,
    NONFINITE,
    SATURATED,
    WIDTH,
    ZEROS,
    Partials,
    wide_dtype,
    working_dtype,
)
from init_monitor.measures.units import unit_sums

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from init_monitor.measures.partials import Knee, Reduction
    from init_monitor.measures.scratch import Scratch

    Fill = Callable[[Tensor, Tensor, Scratch], None]

PIVOT_SAMPLE = 32
"""Elements behind a row's pivot. With k elements the pivot is off by at most the largest outlier over k, which bounds
the cancellation error by n·2⁻²⁴/k² of the variance: 2e-5 for n = 2¹⁸ in the worst case, 1e-7 for ordinary data."""

SHORT_ROW = 1 << 16
"""A row of its own of up to this many elements is read by numpy: it has one thread, but starts five times as fast."""

SMALLEST_SCALE = 1e-37
"""Rows whose largest deviation is below this are scaled by it: 1/scale must stay finite in float32."""


class Eager:
    """Takes everything."""

    def applies(self, block: Tensor, plan: Reduction) -> bool:  # noqa: ARG002 - that is its purpose
        """Say yes."""
        return True

    def reduce(self, block: Tensor, plan: Reduction, scratch: Scratch) -> Partials:
        """Reduce the tensors within the memory there is."""
        return reduce_by(fill_any, block, plan, scratch)


def reduce_by(fill: Fill, block: Tensor, plan: Reduction, scratch: Scratch) -> Partials:
    """Reduce ``[G, ...]`` with what fills in the moments of ``[G, n]``; a single tensor piece by piece.

    Args:
        fill: called as ``fill(x, rows, scratch)`` for each piece.
        block: ``[G, ...]``, floating.
        plan: what to reduce besides the moments.
        scratch: memory to work in.
    """
    wanted = working_dtype(block.dtype)
    if block.shape[0] == 1:
        pieces = scratch.pieces(flat(block[0]), widened=block.dtype != wanted)
        rows = [_rows(fill, piece.unsqueeze(0).to(wanted), plan, scratch) for piece in pieces]
        return Partials(rows[0] if len(rows) == 1 else torch.cat(rows), unit_sums(block, plan))
    x = block.reshape(block.shape[0], -1).to(wanted)
    return Partials(_rows(fill, x, plan, scratch), unit_sums(block, plan))


def flat(x: Tensor) -> Tensor:
    """Return all elements in one dimension, in memory order where that spares a copy."""
    # The former is asked in C: it is so for most, and this is asked of every parameter.
    if x.is_contiguous() or torch.ops.aten.is_non_overlapping_and_dense(x):
        return x.as_strided((x.numel(),), (1,))
    return x.reshape(-1)


def is_short_row(x: Tensor) -> bool:
    """Say whether ``[G, n]`` is one row on the CPU that is better read by numpy."""
    return x.device.type == "cpu" and x.shape[0] == 1 and x.shape[1] <= SHORT_ROW


def _rows(fill: Fill, x: Tensor, plan: Reduction, room: Scratch) -> Tensor:
    rows = torch.zeros(x.shape[0], WIDTH, dtype=wide_dtype(x.device), device=x.device)
    if x.shape[1] == 0:
        rows[:, LOW], rows[:, HIGH] = torch.inf, -torch.inf
        return rows
    fill(x, rows, room)
    parts = room.fitting(x)
    if plan.zeros and is_short_row(x):
        rows.numpy()[0, ZEROS] = np.count_nonzero(x.numpy() == 0)
    elif plan.zeros:
        rows[:, ZEROS] = sum(torch.eq(part, 0, out=room.like(part, 0)).sum(1) for part in parts)
    if plan.knee is not None:
        knee = plan.knee
        rows[:, SATURATED] = sum(_beyond(part, knee, room) for part in parts)
    return rows


def _beyond(x: Tensor, knee: Knee, room: Scratch) -> Tensor:
    distance = torch.sub(x, knee.centre, out=room.like(x, 0)).abs_()
    return torch.ge(distance, knee.reach, out=distance).sum(1)


def fill_any(x: Tensor, rows: Tensor, room: Scratch) -> None:
    """Fill in the moments of ``x``, ``[G, n]``, whatever the elements are, within the memory there is."""
    parts = room.fitting(x)
    if len(parts) == 1:
        fill_at_once(x, rows, room)
        return
    partials = rows.new_zeros(len(parts) * x.shape[0], WIDTH)
    for filled, part in zip(partials.split(x.shape[0]), parts, strict=True):
        fill_at_once(part, filled, room)
    rows.copy_(merge(partials, torch.arange(x.shape[0], device=x.device).repeat(len(parts)), x.shape[0]))


def fill_at_once(x: Tensor, rows: Tensor, room: Scratch) -> None:
    """Fill in the moments of ``x``, ``[G, n]``, whatever the elements are, without looking at any number."""
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


def _pivot(x: Tensor) -> Tensor:
    stride = max(1, x.shape[1] // PIVOT_SAMPLE)
    sample = x[:, ::stride][:, :PIVOT_SAMPLE]
    # (inf - inf) is NaN, so that only finite elements are left for nanmean.
    return torch.nan_to_num(torch.nanmean(sample + (sample - sample), dim=1, keepdim=True), nan=0.0)
