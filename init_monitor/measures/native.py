"""The CPU in one read: a library in C, where one was compiled.

It is in a wheel that was built where a compiler was. A checkout compiles it when it is first needed. Where there is none,
torch's operations (:mod:`init_monitor.measures.cpu`) give the same numbers; nothing else has to know which.
"""

from __future__ import annotations

import ctypes
import math
import os
from functools import cache, lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch import Tensor

from init_monitor.measures import compiling
from init_monitor.measures.eager import Eager
from init_monitor.measures.partials import WIDTH, Layout, Partials, UnitSums, working_dtype
from init_monitor.measures.units import unit_sums

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from init_monitor.measures.partials import Reduction
    from init_monitor.measures.scratch import Scratch

CHOICE = "INIT_MONITOR_KERNEL"
"""``eager`` or ``native`` in this variable of the environment says which kernel is used; for tests and for comparing."""

FORMATS: Mapping[torch.dtype, int] = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
"""Numbers of the formats in the library."""

NO_UNITS, UNITS_INNERMOST, POSITIONS_INNERMOST = range(3)
"""How units lie in memory: not asked; [sample, position, unit]; [sample, unit, position]."""

PLAIN: Final = {Tensor, torch.nn.Parameter}
"""What holds its elements itself. Of a subclass only its own operations know where they are."""


class _Plan(ctypes.Structure):
    """What the library is asked: ``struct plan``."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("format", "elements", "zeros", "knee")),
        *((name, ctypes.c_int64) for name in ("order", "units", "positions", "squares", "stride")),
        *((name, ctypes.c_double) for name in ("centre", "reach")),
    )


class Order(NamedTuple):
    """How the units of a tensor lie in memory.

    Attributes:
        order: one of the numbers above.
        units: how many there are.
        positions: of one unit in one sample.
        squares: there are positions to take the mean signal over.
    """

    order: int
    units: int
    positions: int
    squares: bool


class Library(NamedTuple):
    """What was compiled.

    Attributes:
        reduce: reduces tensors that lie one after the other.
        add: reduces one, and adds what it holds to a row and to the sums of its units.
        threads: says how many threads may share a large tensor; the numbers do not depend on it.
    """

    reduce: Callable[..., int]
    add: Callable[..., int]
    threads: Callable[[int], None]


class Form(NamedTuple):
    """How a tensor is read: the same for all of one shape, order in memory and format.

    Attributes:
        shape, strides, dtype, plan: whose form it is.
        is_dense: it may be read where it lies; else a copy without gaps is.
        asked: what the library is asked.
        where: address of that.
        order: how its units lie in memory, ``None`` where they are not asked for, or in no order that the library knows.
        samples, positions: batch items in it, and values per unit; 0 without a layout.
        extremes: format of the extremes of its units, ``None`` where they are not asked for.
    """

    shape: torch.Size
    strides: tuple[int, ...]
    dtype: torch.dtype
    plan: Reduction
    is_dense: bool
    asked: _Plan
    where: int
    order: Order | None
    samples: int
    positions: int
    extremes: torch.dtype | None


@lru_cache(maxsize=4096)
def form_of(
    shape: torch.Size, strides: tuple[int, ...], dtype: torch.dtype, plan: Reduction, stride: int = 1
) -> Form | None:
    """Return how a tensor is read; ``None`` for one that the library cannot read, or without elements.

    Args:
        shape: of the tensor.
        strides: of the tensor.
        dtype: of the tensor.
        plan: what to reduce of it besides its moments.
        stride: every which element is read.
    """
    elements = math.prod(shape)
    if dtype not in FORMATS or not elements:
        return None
    is_dense = _without_gaps(shape, strides)
    laid = strides if is_dense else _contiguous(shape)
    order = _order((1, *shape), (0, *laid), plan.layout)
    asked = _asked(dtype, -(-elements // stride), order, plan, stride)
    samples = positions = 0
    if plan.layout is not None:
        samples, positions = shape[plan.layout.sample], elements // shape[plan.layout.unit]
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    extremes = wide if plan.rectifier else None
    return Form(
        shape, strides, dtype, plan, is_dense, asked, ctypes.addressof(asked), order, samples, positions, extremes
    )


def _without_gaps(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Say whether elements lie side by side, in whatever order, each once."""
    expected = 1
    for stride, size in sorted((stride, size) for stride, size in zip(strides, shape, strict=True) if size > 1):
        if stride != expected:
            return False
        expected *= size
    return True


def _contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    strides = [1]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * max(1, size))
    return tuple(reversed(strides))[: len(shape)] if shape else ()


class Native:
    """Takes what is on the CPU; what the library cannot do is left to torch."""

    def applies(self, block: Tensor, plan: Reduction) -> bool:  # noqa: ARG002 - all plans are the same to it
        """Say whether there is a library and it knows such tensors."""
        return (
            block.device.type == "cpu"
            and block.dtype in FORMATS
            and type(block) in PLAIN
            and block.numel() > 0
            and library() is not None
        )

    def reduce(self, block: Tensor, plan: Reduction, scratch: Scratch) -> Partials:
        """Reduce them in one read; elements that need another way get it."""
        compiled = library()
        x = _dense(block)
        where = x.data_ptr()
        # A tensor that is only pretended has no address.
        if compiled is None or not where or where % x.element_size():
            return Eager().reduce(block, plan, scratch)
        compiled.threads(torch.get_num_threads())
        tensors, order = x.shape[0], _order(x.shape, x.stride(), plan.layout)
        rows = torch.empty(tensors, WIDTH, dtype=torch.float64)
        asked, units = _asked(x.dtype, x.numel() // tensors, order, plan), None
        if order is None:
            odd = compiled.reduce(where, tensors, ctypes.addressof(asked), rows.data_ptr(), None, None, None, None)
            units = unit_sums(block, plan)
        else:
            units = _room(tensors, order.units, working_dtype(x.dtype) if plan.rectifier else None)
            places = (None if t is None else t.data_ptr() for t in units)
            odd = compiled.reduce(where, tensors, ctypes.addressof(asked), rows.data_ptr(), *places)
        return Eager().reduce(block, plan, scratch) if odd else Partials(rows, units)


def in_use() -> str:
    """Say which kernel reads the CPU: ``native`` or ``eager``."""
    return "eager" if library() is None else "native"


@cache
def library() -> Library | None:
    """Return the functions of the library; ``None`` if there is none, or it is not wanted.

    Raises:
        RuntimeError: the environment asks for what is not there.
    """
    wanted = os.environ.get(CHOICE, "")
    if wanted not in {"", "eager", "native"}:
        msg = f"{CHOICE} is {wanted!r}; it can be 'eager' or 'native', or be left out."
        raise RuntimeError(msg)
    path = None if wanted == "eager" else _path()
    found = None if path is None else _loaded(path)
    if found is None and wanted == "native":
        msg = (
            f"{CHOICE} is 'native', but there is no compiled kernel here: install a C compiler, and init-monitor again."
        )
        raise RuntimeError(msg)
    return found


def _path() -> Path | None:
    """Return where the library is: next to its source in a wheel; a checkout compiles it if it is missing."""
    shipped = compiling.SOURCE.with_name(compiling.LIBRARY)
    if shipped.is_file():
        return shipped
    own = compiling.in_checkout()
    return own if own is not None and (own.is_file() or compiling.compiled(own)) else None


def _loaded(path: Path) -> Library | None:
    try:
        loaded = ctypes.CDLL(str(path))
        functions = Library(loaded.init_monitor_reduce, loaded.init_monitor_add, loaded.init_monitor_threads)
    except (OSError, AttributeError):  # made for another system
        return None
    address, number = ctypes.c_void_p, ctypes.c_int64
    for function, arguments in zip(functions, ((address, number, address), (address, address, number)), strict=False):
        function.argtypes = (*arguments, *[address] * 5)  # type: ignore[attr-defined]
        function.restype = ctypes.c_int  # type: ignore[attr-defined]
    loaded.init_monitor_threads.argtypes, loaded.init_monitor_threads.restype = (number,), None
    return functions


def _dense(block: Tensor) -> Tensor:
    """Return the tensors one after the other, each without gaps; in any order of its dimensions if it is one."""
    if block.is_contiguous() or (block.shape[0] == 1 and torch.ops.aten.is_non_overlapping_and_dense(block[0])):
        return block
    return block.contiguous()


@lru_cache(maxsize=4096)
def _asked(dtype: torch.dtype, elements: int, order: Order | None, plan: Reduction, stride: int = 1) -> _Plan:
    centre, reach = plan.knee or (0.0, 0.0)
    units = order or Order(NO_UNITS, 0, 0, squares=False)
    return _Plan(FORMATS[dtype], elements, plan.zeros, plan.knee is not None, *units, stride, centre, reach)


@lru_cache(maxsize=4096)
def _order(shape: Sequence[int], strides: Sequence[int], layout: Layout | None) -> Order | None:
    """Say how the units of ``[G, ...]`` lie in memory; ``None`` if they are not asked for, or in no order it knows."""
    if layout is None:
        return None
    roles = ["p"] * (len(shape) - 1)
    roles[layout.sample], roles[layout.unit] = "s", "u"
    # Dimensions of size 1 are everywhere and nowhere.
    ordered = sorted((d for d in range(1, len(shape)) if shape[d] > 1), key=lambda d: -strides[d])
    order = "".join(role for role, _ in groupby(roles[d - 1] for d in ordered))
    units, positions = shape[layout.unit + 1], math.prod(shape[d] for d in ordered if roles[d - 1] == "p")
    # Without positions the squares are those of the elements, which the row has already: see `sample_signal`.
    squares = "p" in roles
    if order in {"spu", "su", "pu", "u", ""}:
        return Order(UNITS_INNERMOST, units, positions, squares)
    if order in {"sup", "sp", "up", "p", "s"}:
        return Order(POSITIONS_INNERMOST, units, positions, squares)
    return None


def _room(tensors: int, units: int, extremes: torch.dtype | None) -> UnitSums:
    sums, squares = torch.empty(tensors, units, dtype=torch.float64), torch.empty(tensors, dtype=torch.float64)
    if extremes is None:
        return UnitSums(sums, squares)
    return UnitSums(sums, squares, *(torch.empty(tensors, units, dtype=extremes) for _ in range(2)))
