"""Accelerators: few launches for many elements.

Where Triton can be imported (it comes with the CUDA builds of torch), a CUDA tensor is read once, in two launches. Elsewhere,
and if Triton does not work there, the kernel that works everywhere reads it; both give the same numbers.
"""

from __future__ import annotations

import importlib
import math
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch import Tensor

from init_monitor.measures.eager import Eager
from init_monitor.measures.partials import WIDTH, Knee, Layout, Partials, UnitSums, working_dtype
from init_monitor.measures.scratch import Sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.measures.kernel import Kernel
    from init_monitor.measures.partials import Reduction
    from init_monitor.measures.scratch import Scratch

ACCELERATOR_BLOCK = 1 << 22
"""Elements at once: few launches per tensor, and their counts are still exact in float32."""

SIZES = Sizes(ACCELERATOR_BLOCK, ACCELERATOR_BLOCK, ACCELERATOR_BLOCK, ACCELERATOR_BLOCK)

FORMATS: Final = {torch.float32, torch.float64, torch.bfloat16, torch.float16}

PLAIN: Final = {Tensor, torch.nn.Parameter}
"""What holds its elements itself. Of a subclass only its own operations know where they are."""

TILE = 1024
"""Elements that a program reads at once: eight for each of 128 threads."""

UNIT_TILE, FEW_UNITS = 128, 16
"""Units of a tile where they lie side by side in memory; of a layer that has no more than the second number."""

LENGTHS = (16, 64, 256, TILE)
"""Positions of a tile where these lie side by side; few different tiles, for each is a kernel to compile."""

POSITION_DIMS = 3
"""Dimensions of positions that memory does not join; a tensor of more is copied first."""

NUMBERS = 9
"""What a program writes of what it read: a row, and the squares of its mean signals."""


class Geometry(NamedTuple):
    """How a block ``[G, ...]`` is shared out among programs.

    Attributes:
        samples, units: sizes of these dimensions; 1 where they are not told apart.
        positions: of one unit in one sample (all elements of a tensor that has neither).
        chunks, span: stretches that the positions are cut into, and how long each is.
        strides: of tensor, sample, unit and the three dimensions of positions, in elements.
        sizes: of the two inner dimensions of positions.
        dims: how many dimensions of positions there are.
        tile: units and positions that a program reads at once.
        divisor: positions that the mean signal of a sample is over; 1 if there is one.
        squares: the squares of the mean signals are not those of the elements.
    """

    samples: int
    units: int
    positions: int
    chunks: int
    span: int
    strides: tuple[int, ...]
    sizes: tuple[int, int]
    dims: int
    tile: tuple[int, int]
    divisor: int
    squares: bool


class OneRead:
    """Reads what is on a CUDA device with Triton."""

    def __init__(self) -> None:
        self._works = True

    def applies(self, block: Tensor, plan: Reduction) -> bool:  # noqa: ARG002 - all plans are the same to it
        """Say whether there is Triton and it knows such tensors."""
        return (
            block.is_cuda
            and block.dtype in FORMATS
            and type(block) in PLAIN
            and block.numel() > 0
            and self._works
            and source() is not None
        )

    def reduce(self, block: Tensor, plan: Reduction, scratch: Scratch) -> Partials:
        """Reduce them in one read; where Triton cannot be used after all, it is not tried again."""
        try:
            with torch.cuda.device(block.device):
                return one_read(block, plan)
        except Exception:  # noqa: BLE001 - no compiler, no driver that it knows, a device that is too old
            self._works = False
            return Eager().reduce(block, plan, scratch)


KERNELS: Sequence[Kernel] = (OneRead(),)
"""Kernels that only run here, in the order in which they are asked."""


@cache
def source() -> Any | None:  # noqa: ANN401 - a module
    """Return the module with the kernels; ``None`` where Triton cannot be imported."""
    try:
        return importlib.import_module("init_monitor.measures.triton.one_read")
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is optional
        return None


def one_read(block: Tensor, plan: Reduction) -> Partials:
    """Reduce ``[G, ...]`` in two launches and without a wait.

    Args:
        block: with elements, floating, where Triton can read it.
        plan: what to reduce besides the moments.
    """
    kernels: Any = source()
    shape, strides = tuple(block.shape), tuple(block.stride())
    geometry = geometry_of(shape, strides, plan.layout)
    if geometry is None:
        block = block.contiguous()
        geometry = geometry_of(shape, tuple(block.stride()), plan.layout)
    if geometry is None:  # not of one piece, but told apart: never
        message = f"no way to read a tensor of shape {shape}"
        raise ValueError(message)
    tensors, units = shape[0], geometry.units
    kept, wide = plan.layout is not None, working_dtype(block.dtype)
    rows_of_units, blocks = geometry.samples * geometry.chunks, -(-units // geometry.tile[0])
    per_tensor = rows_of_units * blocks
    programs = tensors * per_tensor
    partials = torch.empty(NUMBERS, programs, dtype=torch.float64, device=block.device)
    rows = torch.empty(tensors, WIDTH, dtype=torch.float64, device=block.device)
    found = _unit_room(tensors, 1, units, wide, block.device) if kept else (rows,) * 4
    parts = _unit_room(tensors, rows_of_units, units, wide, block.device) if kept else (rows,) * 4
    knee = plan.knee or Knee(0.0, math.nan)
    exact = plan.knee if plan.knee is not None and wide == torch.float64 else None
    kernels.read[tensors * rows_of_units, blocks](
        block, partials, parts[0], parts[2], parts[3],
        *geometry.strides, geometry.samples, geometry.chunks, units, geometry.positions, geometry.span, *geometry.sizes,
        programs, *knee, WIDE=wide == torch.float64, UNITS=kept, KNEE=exact is not None,
        CENTRE=exact.centre if exact else 0.0, REACH=exact.reach if exact else 0.0,
        DIMS=geometry.dims, BU=geometry.tile[0], BP=geometry.tile[1], FOLDED=kernels.FOLD, HUGE=kernels.BEYOND, TINY=kernels.BELOW, enable_fp_fusion=True,
    )  # fmt: skip
    columns = UNIT_TILE if units > FEW_UNITS else FEW_UNITS
    kernels.combine[tensors, 1 + (-(-units // columns) if kept else 0)](
        partials, parts[0], parts[2], parts[3], rows, found[1], found[0], found[2], found[3],
        per_tensor, programs, rows_of_units, units, float(geometry.divisor), int(plan.zeros),
        UNITS=kept, SQUARES=geometry.squares, BN=TILE, BR=TILE // columns, BU=columns,
        enable_fp_fusion=True,
    )  # fmt: skip
    if not kept:
        return Partials(rows)
    sums, squares, highs, lows = found
    return Partials(rows, UnitSums(sums, squares, *((highs, lows) if plan.rectifier else ())))


@lru_cache(maxsize=4096)
def geometry_of(shape: tuple[int, ...], strides: tuple[int, ...], layout: Layout | None) -> Geometry | None:
    """Share ``[G, ...]`` out among programs; ``None`` if its memory has too many dimensions to be read as it is."""
    names = {layout.sample + 1, layout.unit + 1} if layout is not None else set()
    joined = _joined([(shape[d], strides[d]) for d in range(1, len(shape)) if d not in names])
    samples, sample_stride, units, unit_stride = 1, 0, 1, 0
    squares = False
    if layout is not None:
        samples, sample_stride = shape[layout.sample + 1], strides[layout.sample + 1]
        units, unit_stride = shape[layout.unit + 1], strides[layout.unit + 1]
        squares = len(shape) > len(names) + 1
        if layout.sample == layout.unit:
            samples, sample_stride = 1, 0
        elif not squares:
            # The samples are what a unit is summed over, and may be cut anywhere.
            joined, samples, sample_stride = [(samples, sample_stride)], 1, 0
    elif len(joined) > POSITION_DIMS:
        # Nobody asks which is which.
        samples, sample_stride = joined.pop(0)
    if len(joined) > POSITION_DIMS:
        return None
    dims = max(1, len(joined))
    (_, a), (b_size, b), (c_size, c) = [(1, 0)] * (POSITION_DIMS - len(joined)) + joined
    positions = 1
    for size, _ in joined:
        positions *= size
    if layout is None:
        tile = 1, TILE
    elif not joined or unit_stride <= c:
        width = UNIT_TILE if units > FEW_UNITS else FEW_UNITS
        tile = width, TILE // width
    else:
        # A row of 7² positions is a sixteenth of a tile: sixteen units are read at once.
        length = next(length for length in LENGTHS if length >= min(positions, TILE))
        tile = TILE // length, length
    span = positions if squares else tile[1] * 32
    chunks = max(1, -(-positions // span))
    strides_used = (strides[0], sample_stride, unit_stride, a, b, c)
    divisor = positions if squares else 1
    return Geometry(
        samples, units, positions, chunks, span, strides_used, (b_size, c_size), dims, tile, divisor, squares
    )


def _joined(dims: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return sizes and strides, outermost first, with those joined that lie one after the other in memory."""
    found: list[tuple[int, int]] = []
    for size, stride in sorted((one for one in dims if one[0] > 1), key=lambda one: -one[1]):
        if found and found[-1][1] == size * stride:
            found[-1] = found[-1][0] * size, stride
        else:
            found.append((size, stride))
    return found


def _unit_room(tensors: int, rows: int, units: int, wide: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Return memory for sums, squares, largest and smallest values of units."""
    shape = (tensors, units) if rows == 1 else (tensors, rows, units)
    sums = torch.empty(shape, dtype=torch.float64, device=device)
    squares = torch.empty(tensors, dtype=torch.float64, device=device)
    return (sums, squares, *(torch.empty(shape, dtype=wide, device=device) for _ in range(2)))
