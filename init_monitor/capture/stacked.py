"""Tensors reduced together, with torch's operations: what every device can do.

Every distinct small operation inside a real training step costs tens of microseconds, whatever its size; so tensors
are not reduced one by one. Small ones are copied aside and, once a block's worth of elements waits, those of one shape
are stacked and reduced together; large ones are reduced where they lie, in pieces that fit the cache. The working
memory is small, and given back at the end of each micro-batch. Nothing here waits for the device before
:meth:`Stacked.drain`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from init_monitor.capture.drained import Drained, drained
from init_monitor.capture.sampling import strided_sample
from init_monitor.capture.tensors import local
from init_monitor.capture.unit_blocks import UnitBlock
from init_monitor.measures import (
    MOMENTS,
    WIDTH,
    Reduction,
    Scratch,
    merge,
    reduce,
    rescale,
    sizes_for,
    wide_dtype,
    working_dtype,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from init_monitor.measures import Sizes, UnitSums

LARGE_SHARE = 4
"""A tensor of more than a quarter of a block is reduced where it lies: copying it costs more than it spares."""


class _Bench:
    """Working memory: where tensors of a shape that wait are stacked, and scratch."""

    __slots__ = ("scratch", "stack")

    def __init__(self, sizes: Sizes, device: torch.device) -> None:
        """Allocate a block, and scratch."""
        self.stack = torch.empty(sizes.block, dtype=torch.float32, device=device)
        self.scratch = Scratch(device, sizes)


class Stacked:
    """Collects the tensors of one device over the micro-batches of one optimizer step."""

    def __init__(self, device: torch.device, *, exact: bool) -> None:
        """Prepare for tensors on ``device``; ``exact=False`` keeps a strided sample of every tensor."""
        self.device = device
        self.exact = exact
        self._sizes = sizes_for(device)
        self.rows = 0
        self._state: Tensor | None = None
        self._bench: _Bench | None = None
        self._waiting: dict[tuple[torch.Size, torch.dtype, Reduction, bool], list[tuple[int, Tensor]]] = {}
        self._waiting_elements = 0
        self._partials: list[Tensor] = []
        self._index: list[int] = []
        self._is_gradient: list[bool] = []
        self._units: list[tuple[tuple[int, ...], UnitSums]] = []
        self._unit_blocks: list[UnitBlock] = []
        self._samples: dict[int, int] = {}
        self._positions: dict[int, int] = {}

    def new_row(self) -> int:
        """Return the number of a row that nothing has been added to."""
        self.rows += 1
        return self.rows - 1

    def take(
        self, row: int, tensor: Tensor, plan: Reduction = MOMENTS, *, gradient: bool = False, lasting: bool = False
    ) -> None:
        """Add a floating tensor to a row. Only its values at this moment count; nothing of it is kept alive.

        Args:
            row: from :meth:`new_row`.
            tensor: of any shape.
            plan: what to reduce of it besides its moments.
            gradient: its numbers get the factor that :meth:`end_batch` is given.
            lasting: nobody writes to it any more: a small one is kept as it is until it is reduced, rather than copied.
        """
        x = local(tensor.detach())
        if not self.exact:
            x, plan = strided_sample(x), plan._replace(layout=None, rectifier=False)
        if plan.layout is not None and x.numel():
            samples = x.shape[plan.layout.sample]
            self._samples[row] = self._samples.get(row, 0) + samples
            self._positions[row] = self._positions.get(row, 0) + x.numel() // x.shape[plan.layout.unit]
        block, elements = self._sizes.block, x.numel()
        if elements > block // LARGE_SHARE:
            self._reduce((row,), x.unsqueeze(0), plan, gradient=gradient)
            return
        if self._waiting_elements + elements > block:
            self._flush()
        held = _held(x, lasting=lasting)
        self._waiting.setdefault((held.shape, held.dtype, plan, gradient), []).append((row, held))
        self._waiting_elements += elements

    def take_each(self, rows: Sequence[int], sizes: Sequence[int], together: Tensor, plan: Reduction = MOMENTS) -> None:
        """Add the pieces of a flat tensor to a row each: see :class:`init_monitor.capture.accumulator.Accumulator`."""
        for row, piece in zip(rows, together.split(list(sizes)), strict=True):
            self.take(row, piece, plan, lasting=True)

    def add(self, rows: Sequence[int], partials: Tensor) -> None:
        """Add to rows what was reduced already: see :class:`init_monitor.capture.accumulator.Accumulator`."""
        self._partials.append(partials)
        self._index.extend(rows)
        self._is_gradient.extend([False] * len(rows))

    def end_batch(self, gradient_factor: float | Tensor = 1.0) -> None:
        """Merge what this micro-batch brought into the step's rows; gradients are multiplied by the factor."""
        self._flush()
        self._bench = None
        if self._partials:
            self._merge_rows(gradient_factor)
        if self._units:
            self._merge_units()

    def drain(self, also: Tensor | None = None, flags: Tensor | None = None) -> Drained:
        """Copy everything to the host, once, and start over; numbers and truth values of the same device travel along."""
        read = drained(self._all_rows(), self._unit_blocks, also, flags)
        read.samples, read.positions = self._samples, self._positions
        self.discard()
        return read

    def discard(self) -> None:
        """Forget everything that was added since the last drain."""
        self._state, self._bench = None, None
        self._waiting, self._waiting_elements = {}, 0
        self._partials, self._index, self._is_gradient, self._units = [], [], [], []
        self._unit_blocks, self._samples, self._positions = [], {}, {}

    def _all_rows(self) -> Tensor:
        """Return the rows as they stand; those that nothing was merged into since the last drain are zeros."""
        state = torch.empty(0, WIDTH, dtype=wide_dtype(self.device), device=self.device)
        state = state if self._state is None else self._state
        return torch.cat((state, state.new_zeros(self.rows - state.shape[0], WIDTH)))

    def _work(self) -> _Bench:
        if self._bench is None:
            self._bench = _Bench(self._sizes, self.device)
        return self._bench

    def _stacked(self, held: Sequence[Tensor]) -> Tensor:
        first = held[0]
        shape = (len(held), *first.shape)
        if len(held) == 1:
            return first.unsqueeze(0)
        if first.dtype == torch.float64:
            return torch.stack(tuple(held))
        return torch.stack(tuple(held), out=self._work().stack[: len(held) * first.numel()].view(shape))

    def _flush(self) -> None:
        for (_, _, plan, gradient), held in self._waiting.items():
            rows = tuple(row for row, _ in held)
            self._reduce(rows, self._stacked([tensor for _, tensor in held]), plan, gradient=gradient)
        self._waiting, self._waiting_elements = {}, 0

    def _reduce(self, rows: tuple[int, ...], block: Tensor, plan: Reduction, *, gradient: bool) -> None:
        partials = reduce(block, plan, self._work().scratch)
        self._partials.append(partials.rows)
        index = rows * (partials.rows.shape[0] // len(rows))
        self._index.extend(index)
        self._is_gradient.extend([gradient] * len(index))
        if partials.units is not None:
            self._units.append((rows, partials.units))

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
        new = UnitBlock.of(self._units)
        self._units = []
        for old in self._unit_blocks:
            if old.key == new.key:
                old.add(new)
                return
        self._unit_blocks.append(new)


def _held(x: Tensor, *, lasting: bool) -> Tensor:
    """Return a tensor in the format that it is reduced in, contiguous: a copy, unless it lasts as it is.

    One operation per tensor: a place in memory that was made before takes three.
    """
    wanted = working_dtype(x.dtype)
    if x.dtype != wanted:
        return x.to(wanted, memory_format=torch.contiguous_format)
    return x.contiguous() if lasting else x.clone(memory_format=torch.contiguous_format)
