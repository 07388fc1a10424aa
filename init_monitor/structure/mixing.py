"""Layers that are not modules of their own: a function that mixes its input with a weight of the model.

``F.linear``, a convolution, a matrix product, ``einsum`` or ``F.embedding`` with a parameter is a layer wherever it is
called from. Its output is the pre-activation, its input the other operand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from init_monitor.structure.derivation import argument, carries_values
from init_monitor.structure.fans import Fans, convolution_fans, is_matrix, mixes_as_kernel
from init_monitor.structure.nodes import Kind, Node

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from init_monitor.structure.operations import Operation

_LOOKED_BACK = 64
"""Values looked at between a weight as it is used and the parameter that it was computed from."""

_LINEAR = frozenset({"linear", "inner"})
_PRODUCTS = frozenset({"matmul", "rmatmul", "mm", "bmm", "mv", "addmm", "baddbmm", "chain_matmul", "_grouped_mm"})


@dataclass(frozen=True, slots=True)
class Mixing:
    """A call that mixes an input with a weight of the model.

    Attributes:
        given: its input: values, or the numbers of the rows of a table.
        parameter: ``id`` of the parameter that the weight is, or was computed from.
        exact: the weight is that parameter, moved or viewed at most.
        bias: ``id`` of the bias, 0 if there is none or it is not a parameter.
        fans: terms that are summed.
        channels_first: the units of its output are its second dimension.
    """

    given: Tensor
    parameter: int
    exact: bool
    bias: int
    fans: Fans
    channels_first: bool


def mixing_of(
    operation: Operation,
    inputs: Sequence[tuple[Tensor, Node]],
    args: Sequence[object],
    kwargs: Mapping[str, object],
) -> Mixing | None:
    """Return the weight and the input that a call mixes, ``None`` if no operand is a weight or none depends on the input."""
    weight: tuple[Tensor, Node] | None = None
    asked = [(tensor, node) for tensor, node in inputs if node.stream]
    convolves = operation.name.startswith("conv")
    mixes = mixes_as_kernel if convolves else is_matrix
    for tensor, node in inputs:
        if node.param and not node.stream and mixes(tensor.shape):
            weight = tensor, node
            break
    if weight is None or not asked:
        return None
    found = _parameter_behind(weight[1])
    if found is None or (operation.name == "einsum" and not _sums_over(args, weight[0])):
        return None
    parameter, exact = found
    given = next((tensor for tensor, _ in asked if carries_values(tensor)), asked[0][0])
    bias = argument(args, kwargs, 2, "bias") if convolves or operation.name == "linear" else None
    return Mixing(
        given=given,
        parameter=parameter,
        exact=exact,
        bias=id(bias) if isinstance(bias, Tensor) else 0,
        fans=_fans(operation.name, weight[0], given, args, kwargs),
        channels_first=convolves,
    )


def weight_in(inputs: Sequence[tuple[Tensor, Node]]) -> int | None:
    """Return the ``id`` of the first weight that is passed together with a value of the network, if there is one."""
    if not any(node.stream for _, node in inputs):
        return None
    for tensor, node in inputs:
        # What cannot be measured at all (sparse) is reported by its kind.
        if node.param and not node.stream and tensor.layout == torch.strided and is_matrix(tensor.shape):
            found = _parameter_behind(node)
            return None if found is None else found[0]
    return None


def _parameter_behind(weight: Node) -> tuple[int, bool] | None:
    """Return the parameter that a weight was made of, and whether it is that parameter."""
    node: Node | None = weight
    while node is not None and node.kind in {Kind.CARRY, Kind.SOURCE}:
        if node.parameter:
            return node.parameter, True
        node = node.main
    waiting, seen = [weight], {weight}
    largest: Node | None = None
    while waiting and len(seen) < _LOOKED_BACK:
        at = waiting.pop()
        if at.parameter and (largest is None or at.size > largest.size):
            largest = at
        waiting += [parent for parent in at.parents if parent not in seen]
        seen.update(at.parents)
    return None if largest is None else (largest.parameter, False)


def _fans(name: str, weight: Tensor, given: Tensor, args: Sequence[object], kwargs: Mapping[str, object]) -> Fans:
    """Return the fans of a call by the shape of its weight; zeros where they have no meaning."""
    rows, columns = int(weight.shape[-2]) if weight.dim() > 1 else 1, int(weight.shape[-1])
    if name in _LINEAR:
        return Fans(columns, rows, float(columns), float(rows))
    if name in _PRODUCTS:
        first = next(
            (value for value in args if (isinstance(value, Tensor) and value.dim() > 1) or value is given), None
        )
        from_left = name not in {"addmm", "baddbmm"} and first is weight and name != "rmatmul"
        into, out = (columns, rows) if from_left else (rows, columns)
        return Fans(into, out, float(into), float(out))
    if name.startswith("conv") and name != "conv_tbc":
        return _of_convolution(name, weight, args, kwargs)
    if name == "einsum":
        return _of_einsum(args, weight)
    return Fans()


def _of_convolution(name: str, weight: Tensor, args: Sequence[object], kwargs: Mapping[str, object]) -> Fans:
    transposed = "transpose" in name
    stride = argument(args, kwargs, 3, "stride")
    groups = argument(args, kwargs, 6, "groups")
    sizes = tuple(int(size) for size in weight.shape[2:])
    count = groups if isinstance(groups, int) else 1
    steps = tuple(stride) if isinstance(stride, (tuple, list)) else (stride if isinstance(stride, int) else 1,)
    total = math.prod(steps) if len(steps) == len(sizes) else steps[0] ** len(sizes)
    first, second = int(weight.shape[0]), int(weight.shape[1])
    into, out = (first // count, second) if transposed else (second, first // count)
    return convolution_fans((into, out), count, math.prod(sizes), total, transposed=transposed)


class _Einsum(NamedTuple):
    """A parsed equation: the letters of the weight with their sizes, those of the other operands, and of the output."""

    weight: Mapping[str, int]
    others: str
    out: str


def _read(args: Sequence[object], weight: Tensor) -> _Einsum | None:
    """Return the equation of an ``einsum`` that says which letters the weight has, ``None`` for any other form."""
    if not args or not isinstance(args[0], str):
        return None
    listed = args[1] if len(args) > 1 and isinstance(args[1], (list, tuple)) else args[1:]
    into, arrow, out = args[0].replace(" ", "").partition("->")
    terms = into.split(",")
    of_weight = next((term for term, value in zip(terms, listed, strict=False) if value is weight), "")
    others = "".join(term for term, value in zip(terms, listed, strict=False) if value is not weight)
    if len(of_weight) != weight.dim() or "." in of_weight or not arrow:
        return None
    return _Einsum(dict(zip(of_weight, map(int, weight.shape), strict=True)), others, out)


def _sums_over(args: Sequence[object], weight: Tensor) -> bool:
    """Return False for an ``einsum`` that only multiplies: none of the weight's dimensions is summed over."""
    read = _read(args, weight)
    return read is None or any(letter not in read.out for letter in read.weight)


def _of_einsum(args: Sequence[object], weight: Tensor) -> Fans:
    """Return the fans of an ``einsum``: what is summed over, and what only the weight adds to the output."""
    read = _read(args, weight)
    if read is None:
        return Fans()
    into = math.prod(size for letter, size in read.weight.items() if letter not in read.out)
    out = math.prod(size for letter, size in read.weight.items() if letter in read.out and letter not in read.others)
    return Fans(into, out, float(into), float(out))
