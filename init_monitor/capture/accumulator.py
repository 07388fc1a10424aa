"""The device side of a sampled step: tensors come in from hooks, one packed copy goes out to the host.

Every distinct small operation inside a real training step costs tens of microseconds, whatever its size; so tensors
are not reduced one by one. Small ones are copied aside and, once a block's worth of elements waits, those of one shape
are stacked and reduced together; large ones are reduced where they lie, in pieces that fit the cache. What is worked in
is small, and given back at the end of each micro-batch. Nothing here waits for the device before
:meth:`Accumulator.drain`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from init_monitor.capture.tensors import local
from init_monitor.measures import (
    WIDTH,
    Knee,
    Layout,
    Scratch,
    merge,
    reduce_block,
    rescale,
    sample_signal,
    unit_extremes,
    wide_dtype,
    working_dtype,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

CPU_BLOCK = 1 << 15
"""Elements that may wait on the CPU: 128 kB, and as many again to stack them in."""

CPU_SCRATCH = 1 << 16
"""Elements of each of the two pieces of scratch on the CPU: 512 kB. The monitor as a whole may take up 1 MB."""

CPU_PIECE = 1 << 18
"""Elements of a large tensor that are read at once on the CPU: 1 MB, measured as the fastest of 2¹⁴ … 2²³."""

ACCELERATOR_BLOCK = 1 << 22
"""Elements of a block elsewhere: few launches per tensor, and its counts are still exact in float32."""

LARGE_SHARE = 4
"""A tensor of more than a quarter of a block is reduced where it lies: copying it costs more than it spares."""

STAGED_ELEMENTS = 4096
"""Elements kept of a tensor by ``measure="staged"``: a variance is then within 3 % in the median, 8 % at p90."""


class Plan(NamedTuple):
    """What to reduce of a tensor besides its moments.

    Attributes:
        layout: samples and units; ``None`` if they are not to be looked at.
        rectifier: keep each unit's extremes.
        knee: count the elements beyond it.
        gradient: the numbers are of a gradient and get the factor that :meth:`Accumulator.end_batch` is given.
        zeros: count exact zeros.
    """

    layout: Layout | None = None
    rectifier: bool = False
    knee: Knee | None = None
    gradient: bool = False
    zeros: bool = True


@dataclass(slots=True)
class _UnitBlock:
    """Unit sums (and extremes) of several rows that arrived together; ``key`` says whose they are."""

    key: tuple[tuple[tuple[int, ...], int, bool], ...]
    sums: Tensor
    squares: Tensor
    highs: Tensor | None
    lows: Tensor | None


class UnitReading(NamedTuple):
    """One row's units on the host: their sums, and which saw a positive and a non-positive value."""

    sums: NDArray[np.float64]
    squares: float
    positive: NDArray[np.bool_] | None
    nonpositive: NDArray[np.bool_] | None


@dataclass(slots=True)
class Drained:
    """What one device measured over a sampled step, on the host.

    Attributes:
        rows: ``[R, WIDTH]`` merged partial rows.
        units: by row, what its units did (a row met in batches of unlike structure has several entries).
        samples: by row, batch items seen.
        positions: by row, values per unit seen (batch items times positions).
    """

    rows: NDArray[np.float64]
    units: dict[int, list[UnitReading]] = field(default_factory=dict)
    samples: dict[int, int] = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=dict)


class _Bench:
    """What is worked in: where small tensors wait, where those of a shape are stacked, and scratch."""

    __slots__ = ("scratch", "shelf", "stack")

    def __init__(self, elements: int, device: torch.device) -> None:
        """Allocate two blocks of so many elements, and scratch."""
        self.shelf, self.stack = (torch.empty(elements, dtype=torch.float32, device=device) for _ in range(2))
        self.scratch = Scratch(CPU_SCRATCH if device.type == "cpu" else elements, device)


class Accumulator:
    """Collects the tensors of one device over the micro-batches of one optimizer step."""

    def __init__(self, device: torch.device, *, exact: bool) -> None:
        """Prepare for tensors on ``device``; ``exact=False`` keeps a strided sample of every tensor."""
        self.device = device
        self.exact = exact
        on_cpu = device.type == "cpu"
        self.block, self.piece = (CPU_BLOCK, CPU_PIECE) if on_cpu else (ACCELERATOR_BLOCK, ACCELERATOR_BLOCK)
        self.widened = CPU_SCRATCH if on_cpu else ACCELERATOR_BLOCK
        self.rows = 0
        self._state: Tensor | None = None
        self._bench: _Bench | None = None
        self._waiting: dict[tuple[torch.Size, torch.dtype, Plan], list[tuple[int, Tensor]]] = {}
        self._waiting_elements = 0
        self._partials: list[Tensor] = []
        self._index: list[int] = []
        self._is_gradient: list[bool] = []
        self._units: list[tuple[tuple[int, ...], Tensor, Tensor, Tensor | None, Tensor | None]] = []
        self._unit_state: list[_UnitBlock] = []
        self._samples: dict[int, int] = {}
        self._positions: dict[int, int] = {}

    def new_row(self) -> int:
        """Return the number of a row that nothing has been added to."""
        self.rows += 1
        return self.rows - 1

    def take(self, row: int, tensor: Tensor, plan: Plan = Plan()) -> None:  # noqa: B008 - an immutable tuple
        """Add a floating tensor to a row. Only its values at this moment count; nothing of it is kept alive."""
        x = local(tensor.detach())
        if not self.exact:
            x, plan = strided_sample(x), plan._replace(layout=None, rectifier=False)
        if plan.layout is not None and x.numel():
            samples = x.shape[plan.layout.sample]
            self._samples[row] = self._samples.get(row, 0) + samples
            self._positions[row] = self._positions.get(row, 0) + x.numel() // x.shape[plan.layout.unit]
        if x.numel() > self.block // LARGE_SHARE:
            self._take_large(row, x, plan)
            return
        if self._waiting_elements + x.numel() > self.block:
            self._flush()
        held = self._hold(x)
        self._waiting.setdefault((held.shape, held.dtype, plan), []).append((row, held))
        self._waiting_elements += held.numel()

    def end_batch(self, gradient_factor: float | Tensor = 1.0) -> None:
        """Merge what this micro-batch brought into the step's rows; gradients are multiplied by the factor."""
        self._flush()
        self._bench = None
        if self._partials:
            self._merge_rows(gradient_factor)
        if self._units:
            self._merge_units()

    def drain(self) -> Drained:
        """Copy everything to the host, once, and start afresh."""
        state = self._all_rows()
        parts = [state.reshape(-1).view(torch.uint8)]
        for block in self._unit_state:
            parts += [block.sums.view(torch.uint8), block.squares.view(torch.uint8)]
            if block.highs is not None and block.lows is not None:
                # A NaN says neither dead nor all positive: it counts as having seen both signs.
                parts += [(block.highs <= 0).logical_not_().view(torch.uint8)]
                parts += [(block.lows > 0).logical_not_().view(torch.uint8)]
        packed = torch.cat(parts).cpu().numpy()
        drained = self._unpack(packed, np.dtype(str(state.dtype).removeprefix("torch.")))
        self.discard()
        return drained

    def discard(self) -> None:
        """Forget everything that was added since the last drain."""
        self._state, self._bench = None, None
        self._waiting, self._waiting_elements = {}, 0
        self._partials, self._index, self._is_gradient, self._units = [], [], [], []
        self._unit_state, self._samples, self._positions = [], {}, {}

    def _all_rows(self) -> Tensor:
        """Return the rows as they stand; those that nothing was merged into since the last drain are zeros."""
        state = torch.empty(0, WIDTH, dtype=wide_dtype(self.device), device=self.device)
        state = state if self._state is None else self._state
        return torch.cat((state, state.new_zeros(self.rows - state.shape[0], WIDTH)))

    def _work(self) -> _Bench:
        if self._bench is None:
            self._bench = _Bench(self.block, self.device)
        return self._bench

    def _hold(self, x: Tensor) -> Tensor:
        if working_dtype(x.dtype) == torch.float64:
            return x.to(torch.float64, copy=True, memory_format=torch.contiguous_format)
        at = self._waiting_elements
        return self._work().shelf[at : at + x.numel()].view(x.shape).copy_(x)

    def _stacked(self, held: Sequence[Tensor]) -> Tensor:
        first = held[0]
        shape = (len(held), *first.shape)
        if len(held) == 1:
            return first.unsqueeze(0)
        if first.dtype == torch.float64:
            return torch.stack(tuple(held))
        return torch.stack(tuple(held), out=self._work().stack[: len(held) * first.numel()].view(shape))

    def _take_large(self, row: int, x: Tensor, plan: Plan) -> None:
        flat, scratch = _flat(x), self._work().scratch
        # What has to be widened first is copied by that.
        step = self.piece if x.dtype == working_dtype(x.dtype) else self.widened
        for piece in flat.split(step) if flat.numel() > step else (flat,):
            partials = reduce_block(piece.unsqueeze(0), plan.knee, zeros=plan.zeros, scratch=scratch)
            self._add_partials((row,), partials, plan)
        if plan.layout is not None:
            wide = x if x.dtype == torch.float64 else x.float()
            self._add_units((row,), wide.unsqueeze(0), plan, plan.layout)

    def _flush(self) -> None:
        for (_, _, plan), held in self._waiting.items():
            rows = tuple(row for row, _ in held)
            block = self._stacked([tensor for _, tensor in held])
            scratch = self._work().scratch
            self._add_partials(rows, reduce_block(block, plan.knee, zeros=plan.zeros, scratch=scratch), plan)
            if plan.layout is not None and block.numel():
                self._add_units(rows, block, plan, plan.layout)
        self._waiting, self._waiting_elements = {}, 0

    def _add_partials(self, rows: tuple[int, ...], partials: Tensor, plan: Plan) -> None:
        self._partials.append(partials)
        self._index.extend(rows)
        self._is_gradient.extend([plan.gradient] * len(rows))

    def _add_units(self, rows: tuple[int, ...], block: Tensor, plan: Plan, layout: Layout) -> None:
        sums, squares = sample_signal(block, layout)
        high, low = unit_extremes(block, layout) if plan.rectifier else (None, None)
        self._units.append((rows, sums, squares, high, low))

    def _merge_rows(self, gradient_factor: float | Tensor) -> None:
        partials = torch.cat(self._partials)
        index = self._sent(self._index)
        if isinstance(gradient_factor, torch.Tensor) or gradient_factor != 1.0:
            is_gradient = self._sent(self._is_gradient)
            one = torch.ones((), dtype=partials.dtype, device=self.device)
            partials = rescale(partials, torch.where(is_gradient, one * gradient_factor, one))
        if self._state is not None:
            partials = torch.cat((self._state, partials))
            index = torch.cat((torch.arange(self._state.shape[0], device=self.device), index))
        self._state = merge(partials, index, self.rows)
        self._partials, self._index, self._is_gradient = [], [], []

    def _sent(self, numbers: list[int] | list[bool]) -> Tensor:
        # A blocking copy to the device would wait for everything queued on it.
        return torch.tensor(numbers).to(self.device, non_blocking=True)

    def _merge_units(self) -> None:
        key = tuple((rows, sums.shape[1], high is not None) for rows, sums, _, high, _ in self._units)
        sums = torch.cat([sums.reshape(-1) for _, sums, *_ in self._units])
        squares = torch.cat([squares for _, _, squares, *_ in self._units])
        highs = [high.reshape(-1) for *_, high, _ in self._units if high is not None]
        lows = [low.reshape(-1) for *_, low in self._units if low is not None]
        new = _UnitBlock(key, sums, squares, torch.cat(highs) if highs else None, torch.cat(lows) if lows else None)
        self._units = []
        for old in self._unit_state:
            if old.key == key:
                old.sums += new.sums
                old.squares += new.squares
                if old.highs is not None and old.lows is not None and new.highs is not None and new.lows is not None:
                    torch.maximum(old.highs, new.highs, out=old.highs)
                    torch.minimum(old.lows, new.lows, out=old.lows)
                return
        self._unit_state.append(new)

    def _unpack(self, packed: NDArray[np.uint8], wide: np.dtype[np.float64]) -> Drained:
        cursor = _Cursor(packed, wide)
        drained = Drained(cursor.numbers(self.rows * WIDTH).reshape(self.rows, WIDTH))
        drained.samples, drained.positions = self._samples, self._positions
        for block in self._unit_state:
            sums, squares = cursor.numbers(block.sums.numel()), cursor.numbers(block.squares.numel())
            size = 0 if block.highs is None else block.highs.numel()
            positive, nonpositive = cursor.flags(size), cursor.flags(size)
            for row, reading in _readings(block.key, sums, squares, positive, nonpositive):
                drained.units.setdefault(row, []).append(reading)
        return drained


class _Cursor:
    """Reads the packed bytes front to back."""

    def __init__(self, packed: NDArray[np.uint8], wide: np.dtype[np.float64]) -> None:
        self._packed, self._wide, self._at = packed, wide, 0

    def numbers(self, count: int) -> NDArray[np.float64]:
        raw = self._packed[self._at : self._at + count * self._wide.itemsize]
        self._at += raw.size
        return np.frombuffer(raw.tobytes(), self._wide).astype(np.float64)

    def flags(self, count: int) -> NDArray[np.bool_]:
        raw = self._packed[self._at : self._at + count]
        self._at += count
        return raw.astype(np.bool_)


def _readings(
    key: tuple[tuple[tuple[int, ...], int, bool], ...],
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
    positive: NDArray[np.bool_],
    nonpositive: NDArray[np.bool_],
) -> Iterator[tuple[int, UnitReading]]:
    at = flag_at = square_at = 0
    for rows, units, rectifier in key:
        for row in rows:
            flags = slice(flag_at, flag_at + units)
            yield (
                row,
                UnitReading(
                    sums[at : at + units],
                    float(squares[square_at]),
                    positive[flags] if rectifier else None,
                    nonpositive[flags] if rectifier else None,
                ),
            )
            at, square_at = at + units, square_at + 1
            flag_at += units if rectifier else 0


def _flat(x: Tensor) -> Tensor:
    """Return all elements in one dimension, in memory order where that spares a copy."""
    if torch.ops.aten.is_non_overlapping_and_dense(x):
        return x.as_strided((x.numel(),), (1,))
    return x.reshape(-1)


def strided_sample(x: Tensor, elements: int = STAGED_ELEMENTS) -> Tensor:
    """Return about ``elements`` of a tensor's elements, ``[≤ elements]``, evenly spread; all if it has no more.

    The stride is prime and above 7: a power of two would pick the same channels again and again.
    """
    flat = _flat(x)
    if flat.numel() <= elements:
        return flat
    return flat[:: _next_prime(max(11, -(-flat.numel() // elements)))]


def _next_prime(n: int) -> int:
    while any(n % d == 0 for d in range(2, int(n**0.5) + 1)):
        n += 1
    return n
