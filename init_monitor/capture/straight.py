"""Tensors read one by one where they lie, by the compiled kernel: on the CPU nothing is gained by stacking them.

Each is read when it comes, straight into the row and the unit sums that it belongs to: no copy of it is made, nothing
waits, and no memory is worked in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from init_monitor.capture.drained import Drained, UnitReading
from init_monitor.capture.sampling import stride_of, strided_sample
from init_monitor.capture.tensors import local
from init_monitor.capture.unit_rooms import UnitRooms
from init_monitor.measures import HIGH, LOW, MOMENTS, WIDTH, Reduction, merge, reduce, rescale
from init_monitor.measures.native import PLAIN, form_of, library
from init_monitor.measures.units import unit_sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from init_monitor.measures import UnitSums
    from init_monitor.measures.native import Form

    Rows = NDArray[np.float64]

_NUMBER = 8
"""Bytes of a float64."""

_ROW = WIDTH * _NUMBER

_NEUTRAL = np.zeros(WIDTH)
"""A row that nothing was added to."""
_NEUTRAL[LOW], _NEUTRAL[HIGH] = np.inf, -np.inf


class Straight:
    """Collects the tensors of the CPU over the micro-batches of one optimizer step.

    Args:
        device: the CPU.
        exact: all elements; else a strided sample of every tensor.
    """

    def __init__(self, device: torch.device, *, exact: bool) -> None:
        """Prepare; nothing is allocated yet."""
        self.device = device
        self.exact = exact
        self.rows = 0
        self._forms: list[Form | None] = []
        self._rooms = UnitRooms()
        self._state: Tensor | None = None
        self.discard()

    def new_row(self) -> int:
        """Return the number of a row that nothing has been added to."""
        self.rows += 1
        self._forms.append(None)
        return self.rows - 1

    def take(
        self,
        row: int,
        tensor: Tensor,
        plan: Reduction = MOMENTS,
        *,
        gradient: bool = False,
        lasting: bool = False,  # noqa: ARG002 - it is read at once
    ) -> None:
        """Add a floating tensor to a row: see :class:`init_monitor.capture.accumulator.Accumulator`."""
        plain = type(tensor) in PLAIN
        x = tensor if plain else local(tensor.detach())
        form = self._forms[row]
        if form is None or not (
            (form.plan is plan or form.plan == plan)
            and form.dtype is x.dtype
            and form.shape == x.shape
            and form.strides == x.stride()
        ):
            form = self._forms[row] = self._form(x, plan)
        if gradient:
            self._gradients.add(row)
        if row >= self._room:
            self._grow()
        compiled = library()
        if form is None or compiled is None or not (plain or type(x) in PLAIN) or x.is_neg():
            self._read_otherwise(row, x.detach(), plan)
            return
        whole = x if form.is_dense else x.contiguous()
        where = whole.data_ptr()
        if not where or where % x.element_size():  # a tensor that is only pretended has no address
            self._read_otherwise(row, x.detach(), plan)
            return
        if form.order is None:
            odd = compiled.add(where, form.where, 0, self._base + row * _ROW, None, None, None, None)
            if form.samples:  # units in an order that the library does not know
                self._note_samples(row, form.samples, form.positions)
                self._keep_units(row, unit_sums(x.detach().unsqueeze(0), form.plan))
        else:
            self._samples[row] = self._samples.get(row, 0) + form.samples
            self._positions[row] = self._positions.get(row, 0) + form.positions
            more, addresses = self._rooms.of(row, form.order.units, form.extremes)
            odd = compiled.add(where, form.where, more, self._base + row * _ROW, *addresses)
        if odd:
            self._merge_in(row, reduce(x.detach().unsqueeze(0), plan._replace(layout=None)).rows)

    def take_each(self, rows: Sequence[int], sizes: Sequence[int], together: Tensor, plan: Reduction = MOMENTS) -> None:
        """Add the pieces of a flat tensor to a row each: see :class:`init_monitor.capture.accumulator.Accumulator`."""
        compiled, where, width = library(), together.data_ptr(), together.element_size()
        forms = {size: form_of(torch.Size((size,)), (1,), together.dtype, plan) for size in set(sizes)}
        if self.rows > self._room:
            self._grow()
        begin = 0
        for row, size in zip(rows, sizes, strict=True):
            form = forms[size]
            address = self._base + row * _ROW
            if form is None or compiled is None or not where:
                self._read_otherwise(row, together[begin : begin + size], plan)
            elif compiled.add(where + begin * width, form.where, 0, address, None, None, None, None):
                self._merge_in(row, reduce(together[begin : begin + size].unsqueeze(0), plan).rows)
            begin += size

    def add(self, rows: Sequence[int], partials: Tensor) -> None:
        """Add to rows what was reduced already: see :class:`init_monitor.capture.accumulator.Accumulator`."""
        if self.rows > self._room:
            self._grow()
        places = list(rows)
        both = torch.cat((torch.from_numpy(self._batch[places]), partials))
        index = torch.arange(len(places)).repeat(2)
        self._batch[places] = merge(both, index, len(places)).numpy()

    def end_batch(self, gradient_factor: float | Tensor = 1.0) -> None:
        """Merge what this micro-batch brought into the step's rows; gradients are multiplied by the factor."""
        if not self._room:
            return
        rows = torch.from_numpy(self._batch)
        if isinstance(gradient_factor, torch.Tensor) or gradient_factor != 1.0:
            is_gradient = np.zeros(len(rows), dtype=np.bool_)
            is_gradient[list(self._gradients)] = True
            one = torch.ones((), dtype=rows.dtype)
            rows = rescale(rows, torch.where(torch.from_numpy(is_gradient), one * gradient_factor, one))
        if self._state is not None:
            index = torch.cat((torch.arange(len(self._state)), torch.arange(len(rows))))
            rows = merge(torch.cat((self._state, rows)), index, max(len(self._state), len(rows)))
        self._state = rows
        self._begin_batch()

    def drain(self, also: Tensor | None = None, flags: Tensor | None = None) -> Drained:
        """Return everything, and start over; numbers and truth values travel along."""
        rows = np.tile(_NEUTRAL, (self.rows, 1))
        if self._state is not None:
            rows[: len(self._state)] = self._state.numpy()
        units = self._others
        for row, found in self._rooms.drain().items():
            units.setdefault(row, []).extend(found)
        read = Drained(rows, units, self._samples, self._positions)
        if also is not None:
            read.also = also.detach().double().numpy().copy()
        if flags is not None:
            read.flags = flags.numpy().astype(np.bool_)
        self.discard()
        return read

    def discard(self) -> None:
        """Forget everything that was added since the last drain."""
        self._state = None
        self._others: dict[int, list[UnitReading]] = {}
        self._samples: dict[int, int] = {}
        self._positions: dict[int, int] = {}
        self._rooms.discard()
        self._begin_batch()

    def _begin_batch(self) -> None:
        self._room, self._base = 0, 0
        self._batch: Rows = np.empty((0, WIDTH))
        self._gradients: set[int] = set()

    def _grow(self) -> None:
        """Make room for all rows there are by now."""
        compiled = library()
        if compiled is not None:
            compiled.threads(torch.get_num_threads())
        grown = np.tile(_NEUTRAL, (self.rows, 1))
        grown[: self._room] = self._batch
        self._batch, self._room = grown, len(grown)
        self._base = int(grown.__array_interface__["data"][0])

    def _form(self, x: Tensor, plan: Reduction) -> Form | None:
        if self.exact:
            return form_of(x.shape, x.stride(), x.dtype, plan)
        plain = plan._replace(layout=None, rectifier=False)
        form = form_of(x.shape, x.stride(), x.dtype, plain, stride_of(x.numel()))
        # It answers to the plan that it is asked by, so that it is found again.
        return None if form is None else form._replace(plan=plan)

    def _note_samples(self, row: int, samples: int, positions: int) -> None:
        self._samples[row] = self._samples.get(row, 0) + samples
        self._positions[row] = self._positions.get(row, 0) + positions

    def _read_otherwise(self, row: int, x: Tensor, plan: Reduction) -> None:
        """Read a tensor with torch's operations: of a format or a kind that the library does not know."""
        if not self.exact:
            x, plan = strided_sample(x), plan._replace(layout=None, rectifier=False)
        if plan.layout is not None and x.numel():
            self._note_samples(row, x.shape[plan.layout.sample], x.numel() // x.shape[plan.layout.unit])
        partials = reduce(x.unsqueeze(0), plan)
        self._merge_in(row, partials.rows)
        self._keep_units(row, partials.units)

    def _merge_in(self, row: int, partials: Tensor) -> None:
        rows = torch.cat((torch.from_numpy(self._batch[row : row + 1]), partials))
        self._batch[row] = merge(rows, torch.zeros(len(rows), dtype=torch.int64), 1).numpy()[0]

    def _keep_units(self, row: int, units: UnitSums | None) -> None:
        if units is not None:
            highs, lows = units.highs, units.lows
            positive = None if highs is None else (highs[0] <= 0).logical_not_().numpy()
            nonpositive = None if lows is None else (lows[0] > 0).logical_not_().numpy()
            reading = UnitReading(units.sums[0].numpy(), float(units.squares[0]), positive, nonpositive)
            self._others.setdefault(row, []).append(reading)
