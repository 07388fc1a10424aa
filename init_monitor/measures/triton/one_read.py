"""The kernel that reads a CUDA tensor once, in Triton. Imported only where Triton is (see :mod:`init_monitor.measures.cuda`).

A program reads some units of one sample at all its positions (or a stretch of positions, where samples are not told apart).
Its elements are shifted by a pivot, the mean of some of them that are spread over what it reads, before they are squared.
Sums are taken in float32 by lane over :data:`FOLD` elements at most, and in float64 from there on (in float64 throughout for
float64); programs are merged in float64 by the update of Chan, Golub and LeVeque (1979). Elements so large or so small that
their squares would leave float32 are read a second time, in float64, by the program that met them.
"""

# The compiler of Triton reads this source, not Python: names of sizes are capital, branches are those of the kernel, and only a
# NaN is not itself.
# ruff: noqa: ANN001, ANN201, ANN202, N803, PLR0124, PLR0913, PLR0915, PLR0917, SIM102
from __future__ import annotations

import triton
import triton.language as tl

FOLD = 32
"""Elements of a lane that are added in float32: 32 roundings of 2⁻²⁴ are 2e-6 of the sum of their squares at worst."""

BEYOND, BELOW = 1e17, 1e-14
"""Largest deviations between which the squares, and those of deviations ten thousand times smaller, are within float32."""


# One compiled kernel takes sizes of any value: compiled for each, a network would need hundreds of kernels.
@triton.jit(
    do_not_specialize=[
        "tensor_stride", "sample_stride", "a_stride", "b_stride", "samples", "chunks", "units", "positions", "span",
        "b_size", "c_size", "programs", "centre", "reach",
    ]
)  # fmt: skip
def read(
    x, partials, unit_sums, unit_highs, unit_lows,
    tensor_stride, sample_stride, unit_stride, a_stride, b_stride, c_stride,
    samples, chunks, units, positions, span, b_size, c_size, programs, centre, reach,
    WIDE: tl.constexpr, UNITS: tl.constexpr, KNEE: tl.constexpr, CENTRE: tl.constexpr, REACH: tl.constexpr,
    DIMS: tl.constexpr, BU: tl.constexpr, BP: tl.constexpr, FOLDED: tl.constexpr, HUGE: tl.constexpr, TINY: tl.constexpr,
):  # fmt: skip
    """Reduce the elements of one program: nine numbers to ``partials``, and three per unit where units are kept."""
    place = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1)
    chunk = place % chunks
    sample = (place // chunks) % samples
    tensor = place // (chunks * samples)
    base = x + tensor * tensor_stride + sample * sample_stride
    unit = block * BU + tl.arange(0, BU)
    here = (unit < units)[:, None]
    from_unit = (unit.to(tl.int64) * unit_stride)[:, None]
    first = chunk * span
    last = tl.minimum(first + span, positions)
    lanes = tl.arange(0, BP)

    spread = first + (lanes.to(tl.int64) * (last - first)) // BP
    at = _offset(spread, a_stride, b_stride, c_stride, b_size, c_size, DIMS)
    some = _load(base + from_unit + at[None, :], here & (spread < last)[None, :], WIDE)
    usable = here & (spread < last)[None, :] & (tl.abs(some) < float("inf"))
    known = tl.maximum(tl.sum(tl.sum(usable.to(tl.int32), 1), 0), 1).to(some.dtype)
    pivot = tl.sum(tl.sum(tl.where(usable, some / known, 0.0), 1), 0)

    lows = tl.full((BU, BP), float("inf"), some.dtype)
    highs = tl.full((BU, BP), float("-inf"), some.dtype)
    nonfinite = tl.zeros((BU, BP), tl.int32)
    undefined = tl.zeros((BU, BP), tl.int32)
    infinite = tl.zeros((BU, BP), tl.int32)
    zeros = tl.zeros((BU, BP), tl.int32)
    saturated = tl.zeros((BU, BP), tl.int32)
    total = tl.zeros((BU,), tl.float64)
    energy = tl.zeros((BU,), tl.float64)
    for begin in range(first, last, BP * FOLDED):
        sums = tl.zeros((BU, BP), some.dtype)
        squares = tl.zeros((BU, BP), some.dtype)
        for start in range(begin, tl.minimum(begin + BP * FOLDED, last), BP):
            position = start + lanes.to(tl.int64)
            inside = here & (position < last)[None, :]
            at = _offset(position, a_stride, b_stride, c_stride, b_size, c_size, DIMS)
            value = _load(base + from_unit + at[None, :], inside, WIDE)
            finite = inside & (tl.abs(value) < float("inf"))
            shifted = tl.where(finite, value - pivot, 0.0)
            sums += shifted
            squares += shifted * shifted
            lows = tl.minimum(lows, tl.where(finite, value, float("inf")))
            highs = tl.maximum(highs, tl.where(finite, value, float("-inf")))
            nonfinite += (inside & (finite == 0)).to(tl.int32)
            undefined += (inside & (value != value)).to(tl.int32)
            infinite += (inside & (value == float("inf"))).to(tl.int32)
            zeros += (inside & (value == 0.0)).to(tl.int32)
            if not WIDE:
                # Without a knee the reach is NaN, and nothing is beyond it.
                saturated += (inside & (tl.abs(value - centre) >= reach)).to(tl.int32)
            elif KNEE:
                saturated += (inside & (tl.abs(value - CENTRE) >= REACH)).to(tl.int32)
        total += tl.sum(sums.to(tl.float64), 1)
        energy += tl.sum(squares.to(tl.float64), 1)

    low = tl.min(lows, 1)
    high = tl.max(highs, 1)
    missing = tl.sum(nonfinite, 1)
    lowest = tl.min(low, 0)
    highest = tl.max(high, 0)
    in_unit = tl.where(unit < units, last - first, 0)
    counts = (in_unit - missing).to(tl.float64)
    count = tl.sum(counts, 0)
    if not WIDE:
        farthest = tl.maximum(highest - pivot, pivot - lowest)
        if (count > 0) & ((farthest > HUGE) | ((farthest < TINY) & (farthest > 0))):
            total = tl.zeros((BU,), tl.float64)
            energy = tl.zeros((BU,), tl.float64)
            for start in range(first, last, BP):
                position = start + lanes.to(tl.int64)
                inside = here & (position < last)[None, :]
                at = _offset(position, a_stride, b_stride, c_stride, b_size, c_size, DIMS)
                value = _load(base + from_unit + at[None, :], inside, WIDE)
                finite = inside & (tl.abs(value) < float("inf"))
                far = tl.where(finite, value.to(tl.float64) - pivot.to(tl.float64), 0.0)
                total += tl.sum(far, 1)
                energy += tl.sum(far * far, 1)

    shift = pivot.to(tl.float64)
    moved = tl.sum(total, 0)
    some_count = tl.maximum(count, 1.0)
    out = partials + place * tl.num_programs(1) + block
    tl.store(out, count)
    tl.store(out + programs, tl.where(count > 0, shift + moved / some_count, 0.0))
    # Squares that leave float64 give inf - inf.
    deviations = tl.sum(energy, 0) - moved * moved / some_count
    tl.store(out + 2 * programs, tl.where(deviations == deviations, tl.maximum(deviations, 0.0), float("inf")))
    tl.store(out + 3 * programs, lowest.to(tl.float64))
    tl.store(out + 4 * programs, highest.to(tl.float64))
    tl.store(out + 5 * programs, tl.sum(tl.sum(zeros, 1), 0).to(tl.float64))
    tl.store(out + 6 * programs, tl.sum(missing, 0).to(tl.float64))
    tl.store(out + 7 * programs, tl.sum(tl.sum(saturated, 1), 0).to(tl.float64))
    if UNITS:
        # What is not finite in a unit decides its sum and extremes.
        nans = tl.sum(undefined, 1)
        above = tl.sum(infinite, 1)
        below = missing - nans - above
        signal = total + counts * shift
        signal = tl.where(above > 0, float("inf"), signal)
        signal = tl.where(below > 0, float("-inf"), signal)
        signal = tl.where((nans > 0) | ((above > 0) & (below > 0)), float("nan"), signal)
        high = tl.where(above > 0, float("inf"), high)
        low = tl.where(below > 0, float("-inf"), low)
        high = tl.where(nans > 0, float("nan"), high)
        low = tl.where(nans > 0, float("nan"), low)
        mean_signal = tl.where(unit < units, signal / positions, 0.0)
        tl.store(out + 8 * programs, tl.sum(mean_signal * mean_signal, 0))
        to = place * units + unit
        tl.store(unit_sums + to, signal, mask=unit < units)
        tl.store(unit_highs + to, high, mask=unit < units)
        tl.store(unit_lows + to, low, mask=unit < units)


@triton.jit(do_not_specialize=["per_tensor", "programs", "unit_rows", "units", "divisor", "zeros_wanted"])
def combine(
    partials, unit_sums, unit_highs, unit_lows, rows, squares, sums, highs, lows,
    per_tensor, programs, unit_rows, units, divisor, zeros_wanted,
    UNITS: tl.constexpr, SQUARES: tl.constexpr, BN: tl.constexpr, BR: tl.constexpr, BU: tl.constexpr,
):  # fmt: skip
    """Merge the programs of one tensor: its row, or the sums and extremes of some of its units."""
    tensor = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)
    if part == 0:
        lanes = tl.arange(0, BN)
        begin = partials + tensor * per_tensor
        count = tl.zeros((BN,), tl.float64)
        total = tl.zeros((BN,), tl.float64)
        zeros = tl.zeros((BN,), tl.float64)
        missing = tl.zeros((BN,), tl.float64)
        saturated = tl.zeros((BN,), tl.float64)
        between = tl.zeros((BN,), tl.float64)
        low = tl.full((BN,), float("inf"), tl.float64)
        high = tl.full((BN,), float("-inf"), tl.float64)
        for start in range(0, per_tensor, BN):
            inside = start + lanes < per_tensor
            at = begin + start + lanes
            own = tl.load(at, mask=inside, other=0.0)
            count += own
            total += own * tl.load(at + programs, mask=inside, other=0.0)
            low = tl.minimum(low, tl.load(at + 3 * programs, mask=inside, other=float("inf")))
            high = tl.maximum(high, tl.load(at + 4 * programs, mask=inside, other=float("-inf")))
            zeros += tl.load(at + 5 * programs, mask=inside, other=0.0)
            missing += tl.load(at + 6 * programs, mask=inside, other=0.0)
            saturated += tl.load(at + 7 * programs, mask=inside, other=0.0)
            if SQUARES:
                between += tl.load(at + 8 * programs, mask=inside, other=0.0)
        n = tl.sum(count, 0)
        mean = tl.where(n > 0, tl.sum(total, 0) / tl.maximum(n, 1.0), 0.0)
        moved = tl.zeros((BN,), tl.float64)
        for start in range(0, per_tensor, BN):
            inside = start + lanes < per_tensor
            at = begin + start + lanes
            own = tl.load(at, mask=inside, other=0.0)
            away = tl.load(at + programs, mask=inside, other=0.0) - mean
            moved += tl.load(at + 2 * programs, mask=inside, other=0.0) + own * tl.where(own > 0, away * away, 0.0)
        out = rows + tensor * 8
        tl.store(out, n)
        tl.store(out + 1, mean)
        tl.store(out + 2, tl.sum(moved, 0))
        tl.store(out + 3, tl.min(low, 0))
        tl.store(out + 4, tl.max(high, 0))
        tl.store(out + 5, tl.sum(zeros, 0) * zeros_wanted)
        tl.store(out + 6, tl.sum(missing, 0))
        tl.store(out + 7, tl.sum(saturated, 0))
        if UNITS:
            # Where a sample has one position the squares are those of its elements, which the row has already.
            tl.store(squares + tensor, tl.sum(between, 0) if SQUARES else float("nan"))
    if UNITS:
        if part > 0:
            unit = (part - 1) * BU + tl.arange(0, BU)
            lanes = tl.arange(0, BR)
            total_signal = tl.zeros((BU,), tl.float64)
            largest = tl.full((BU,), float("-inf"), unit_highs.dtype.element_ty)
            smallest = tl.full((BU,), float("inf"), unit_highs.dtype.element_ty)
            undefined = tl.zeros((BU,), tl.int32)
            for start in range(0, unit_rows, BR):
                row = start + lanes.to(tl.int64)
                inside = (row < unit_rows)[:, None] & (unit < units)[None, :]
                at = (tensor * unit_rows + row)[:, None] * units + unit[None, :]
                total_signal += tl.sum(tl.load(unit_sums + at, mask=inside, other=0.0), 0)
                top = tl.load(unit_highs + at, mask=inside, other=float("-inf"))
                bottom = tl.load(unit_lows + at, mask=inside, other=float("inf"))
                undefined += tl.sum((top != top).to(tl.int32), 0)
                largest = tl.maximum(largest, tl.max(tl.where(top == top, top, float("-inf")), 0))
                smallest = tl.minimum(smallest, tl.min(tl.where(bottom == bottom, bottom, float("inf")), 0))
            to = tensor * units + unit
            tl.store(sums + to, total_signal / divisor, mask=unit < units)
            tl.store(highs + to, tl.where(undefined > 0, float("nan"), largest), mask=unit < units)
            tl.store(lows + to, tl.where(undefined > 0, float("nan"), smallest), mask=unit < units)


@triton.jit
def _offset(position, a_stride, b_stride, c_stride, b_size, c_size, DIMS: tl.constexpr):
    """Return where a position is, in elements; positions have up to three dimensions that memory does not join."""
    if DIMS == 1:
        return position * c_stride
    inner = position % c_size
    outer = position // c_size
    if DIMS == 2:  # noqa: PLR2004 - of three
        return outer * b_stride + inner * c_stride
    return (outer // b_size) * a_stride + (outer % b_size) * b_stride + inner * c_stride


@triton.jit
def _load(pointers, inside, WIDE: tl.constexpr):
    """Load elements in the format that they are reduced in."""
    value = tl.load(pointers, mask=inside, other=0.0)
    return value.to(tl.float64) if WIDE else value.to(tl.float32)
