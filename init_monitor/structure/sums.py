"""The two terms of an addition, whatever function wrote it: ``x + f``, ``add_(alpha=)``, ``addcmul``, ``lerp``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from init_monitor.structure.derivation import Derivation, argument, carries_values
from init_monitor.structure.nodes import Frame, Kind, Node
from init_monitor.structure.operations import Family, Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from init_monitor.structure.provenance import Provenance


class Term(NamedTuple):
    """One of two terms; ``read`` gives its tensor, exact, as it is before the addition runs."""

    node: Node
    read: Callable[[], Tensor]


class Sum(NamedTuple):
    """An element-wise sum of two values of one shape, about to be computed; ``plain`` if these are two tensors as they were passed."""

    left: Term
    right: Term
    subtracts: bool
    plain: bool = False


def find_sum(
    graph: Provenance, frame: Frame, operation: Operation, args: Sequence[object], kwargs: Mapping[str, object]
) -> Sum | None:
    """Return the terms if the call adds two floating values of one shape, else ``None``."""
    build = _BUILDERS.get(operation.family)
    if build is None:
        return None
    return build(_Call(graph, frame, operation, args, kwargs))


class _Call(NamedTuple):
    graph: Provenance
    frame: Frame
    operation: Operation
    args: Sequence[object]
    kwargs: Mapping[str, object]

    def get(self, position: int, *names: str) -> object:
        return argument(self.args, self.kwargs, position, *names)

    def number(self, name: str) -> float | None:
        """Return a factor given by keyword, 1 if absent, ``None`` if it is not a number."""
        value = self.kwargs.get(name, 1)
        return float(value) if isinstance(value, (int, float)) else None

    def plain(self, tensor: Tensor) -> Term:
        return Term(self.graph.node_of(tensor), lambda: tensor)

    def scaled(self, tensor: Tensor, factor: float | None, read: Callable[[], Tensor]) -> Term:
        """Return ``factor * tensor``, as ``read`` computes it; ``None`` stands for a factor that is a tensor."""
        node = self.graph.node_of(tensor)
        return Term(node, lambda: tensor) if factor == 1.0 else Term(self._multiple(node, factor), read)

    def product(
        self, a: Tensor, b: Tensor, *, contracts: bool, factor: float | None, read: Callable[[], Tensor]
    ) -> Term:
        """Return the product of two tensors, times ``factor``, as ``read`` computes it."""
        derivation = Derivation(self.graph, self.frame, self.operation, [])
        nodes = (self.graph.node_of(a), self.graph.node_of(b))
        node = derivation.contract(nodes) if contracts else derivation.multiply(nodes, None)
        return Term(node if factor == 1.0 else self._multiple(node, factor), read)

    def _multiple(self, node: Node, factor: float | None) -> Node:
        multiple = self.graph.make("mul", Kind.SCALE, (node,), self.frame, main=node)
        multiple.factor = factor
        return multiple


def _summable(*values: object) -> bool:
    for value in values:  # noqa: SIM110 - all() takes three times as long, and this is asked of every sum
        if not (isinstance(value, Tensor) and _has_shape(value)):
            return False
    return True


def _has_shape(value: Tensor) -> bool:
    return not value.is_nested and carries_values(value) and value.dim() > 0


def _addition(call: _Call) -> Sum | None:
    left, right = call.get(0, "input", "self"), call.get(1, "other")
    if not isinstance(left, Tensor) or not isinstance(right, Tensor):
        return None
    if not _summable(left, right) or left.shape != right.shape:
        return None
    subtracts = call.operation.family is Family.SUBTRACTS
    if not subtracts and "alpha" not in call.kwargs:
        return Sum(call.plain(left), call.plain(right), subtracts=False, plain=True)
    if subtracts and call.operation.reflected:
        left, right = right, left
    alpha = call.number("alpha")
    sign = -1.0 if subtracts else 1.0
    factor = None if alpha is None else sign * alpha
    weight = call.kwargs.get("alpha", 1)
    return Sum(call.plain(left), call.scaled(right, factor, lambda: right * (sign * weight)), subtracts)  # type: ignore[operator]


def _product_addition(call: _Call) -> Sum | None:
    skip, a, b = call.get(0, "input", "self"), call.get(1, "tensor1"), call.get(2, "tensor2")
    if not isinstance(skip, Tensor) or not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return None
    if not _summable(skip, a, b) or torch.broadcast_shapes(a.shape, b.shape) != skip.shape:
        return None
    value = call.number("value")
    weight = call.kwargs.get("value", 1)
    divides = call.operation.name == "addcdiv"
    term = call.product(a, b, contracts=False, factor=value, read=lambda: (a / b if divides else a * b) * weight)  # type: ignore[operator]
    return Sum(call.plain(skip), term, subtracts=False)


def _matrix_addition(call: _Call) -> Sum | None:
    skip, a, b = (
        call.get(0, "input", "self"),
        call.get(1, "mat1", "batch1", "mat", "vec1"),
        call.get(2, "mat2", "batch2", "vec", "vec2"),
    )
    if not isinstance(skip, Tensor) or not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return None
    if call.operation.name not in {"addmm", "baddbmm"} or not _summable(skip, a, b):
        return None
    if skip.shape != (*a.shape[:-1], b.shape[-1]):
        return None
    alpha, beta = call.number("alpha"), call.number("beta")
    term = call.product(a, b, contracts=True, factor=alpha, read=lambda: (a @ b) * call.kwargs.get("alpha", 1))  # type: ignore[operator]
    return Sum(call.scaled(skip, beta, lambda: skip * call.kwargs.get("beta", 1)), term, subtracts=False)  # type: ignore[operator]


def _interpolation(call: _Call) -> Sum | None:
    left, right, weight = call.get(0, "input", "self"), call.get(1, "end"), call.get(2, "weight")
    if not isinstance(left, Tensor) or not isinstance(right, Tensor) or not isinstance(weight, (int, float, Tensor)):
        return None
    if not _summable(left, right) or left.shape != right.shape:
        return None
    if isinstance(weight, Tensor):
        if call.graph.node_of(weight).stream:
            return None  # a gate computed from the input chooses between two values; it does not scale a branch
        factors: tuple[float | None, float | None] = (None, None)
    else:
        factors = (1.0 - weight, float(weight))
    return Sum(
        call.scaled(left, factors[0], lambda: left * (1 - weight)),
        call.scaled(right, factors[1], lambda: right * weight),
        subtracts=False,
    )


_BUILDERS: dict[Family, Callable[[_Call], Sum | None]] = {
    Family.ADDS: _addition,
    Family.SUBTRACTS: _addition,
    Family.ADDS_PRODUCT: _product_addition,
    Family.ADDS_MATRIX_PRODUCT: _matrix_addition,
    Family.INTERPOLATES: _interpolation,
}

SUMMING = frozenset(_BUILDERS)
"""Families of the functions that may add two values."""
