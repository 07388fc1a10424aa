"""From one call of a torch function to the node of its output: what kind of step it is, and from which value."""

from __future__ import annotations

import math
from collections.abc import ValuesView
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from init_monitor.structure.nodes import Frame, Kind, Node
from init_monitor.structure.operations import Family, Operation
from init_monitor.structure.provenance import Provenance, geometry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MAKES, _CUTS, _MULTIPLIES, _SOURCE = Family.MAKES, Family.CUTS, Family.MULTIPLIES, Kind.SOURCE
# Members of an enumeration cost a search each time, and these are compared with at every value.

_LAYER_WORK = frozenset({Family.CONTRACTS, Family.NORMALISES, Family.ADDS_MATRIX_PRODUCT, Family.COMPUTES})
"""Families in which a parameter is a layer's weight, not just a scale, a shift or a bound."""

_CONTRACTING = frozenset({Family.CONTRACTS, Family.ADDS_MATRIX_PRODUCT})
_MORE_LAYER_WORK = _LAYER_WORK - _CONTRACTING
_ADDING = frozenset({Family.ADDS, Family.SUBTRACTS})
_JOINING = frozenset({Family.JOINS, Family.ADDS_PRODUCT, Family.INTERPOLATES})
_SIMPLE = {Family.NORMALISES: Kind.NORM, Family.ACTIVATES: Kind.ACTIVATION}

_SMOOTHING = frozenset({Kind.CARRY, Kind.SLICE, Kind.SCALE, Kind.POOL, Kind.JOIN, Kind.BIAS})
_SMOOTHING_STEPS = 64
"""Values looked at between a moving average and what it averages; several averages in parallel need about twenty."""

_NESTING = 3
"""Lists in lists that a function's arguments are searched through (torch.cat and LSTM weights need one)."""


def tensors_in(value: object, nesting: int = _NESTING) -> list[Tensor]:
    """Return the tensors in an argument or a result: bare, or in lists, tuples, dicts and dataclasses."""
    if isinstance(value, Tensor):
        return [value]
    found: list[Tensor] = []
    for item in _items(value) if nesting else ():
        if isinstance(item, Tensor):
            found.append(item)
        else:
            found += tensors_in(item, nesting - 1)
    return found


def _items(value: object) -> Iterable[object]:
    if isinstance(value, (list, tuple, ValuesView)):
        return value
    if isinstance(value, dict):
        return value.values()
    # Not by asdict, which would copy what they hold.
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name, None) for field in fields(value)]
    return ()


def tensors_given(args: Sequence[object], kwargs: Mapping[str, object]) -> list[Tensor]:
    """Return the tensors among the arguments of a call, in their order, without the ``out`` it writes to."""
    found: list[Tensor] = []
    for value in args:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple, dict)):
            found += tensors_in(value, _NESTING - 2)
    for name, value in kwargs.items():
        if isinstance(value, Tensor) and name != "out":
            found.append(value)
        elif isinstance(value, (list, tuple, dict)) and name != "out":
            found += tensors_in(value, _NESTING - 2)
    return found


def is_among(tensor: Tensor, tensors: list[Tensor]) -> bool:
    """Say whether a tensor is one of several: that very object."""
    for one in tensors:  # noqa: SIM110 - any() takes three times as long, and this is asked of every value
        if one is tensor:
            return True
    return False


def shares(tensor: Tensor, written: object) -> bool:
    """Return True if writing to ``written`` changes ``tensor``."""
    return isinstance(written, Tensor) and (
        tensor is written or tensor.untyped_storage().data_ptr() == written.untyped_storage().data_ptr()
    )


def carries_values(tensor: Tensor) -> bool:
    """Return True for a dtype that a gradient can flow through."""
    return tensor.is_floating_point() or tensor.is_complex()


def argument(args: Sequence[object], kwargs: Mapping[str, object], position: int, *names: str) -> object:
    """Return an argument given by position or by one of its names, ``None`` if absent."""
    if position < len(args):
        return args[position]
    return next((kwargs[name] for name in names if name in kwargs), None)


def is_smoothed(value: Node, whole: Node) -> bool:
    """Return True if a value is ``whole`` averaged over positions, with no layer in between."""
    waiting, seen, pooled = [value], {value}, False
    while waiting and len(seen) <= _SMOOTHING_STEPS:
        node = waiting.pop()
        if node is whole or (node.kind is Kind.SOURCE and not node.stream):
            continue
        if node.kind not in _SMOOTHING or node.trainable or not node.parents:
            return False
        pooled = pooled or node.kind is Kind.POOL
        waiting += [parent for parent in node.parents if parent not in seen]
        seen.update(node.parents)
    return pooled and not waiting


def _of_a_layer(parents: Iterable[Node]) -> bool:
    """Say whether one of the values is a parameter, or made of parameters alone."""
    for parent in parents:  # noqa: SIM110 - any() takes twice as long, and this is asked of every value
        if parent.param and not parent.stream:
            return True
    return False


class Derivation:
    """Makes nodes for the outputs of one call.

    Args:
        graph: where the nodes go.
        frame: the module call that is running.
        operation: what the function does to identity.
        inputs: the tensors among the arguments, with their nodes.
    """

    def __init__(
        self, graph: Provenance, frame: Frame, operation: Operation, inputs: list[tuple[Tensor, Node]]
    ) -> None:
        self._graph = graph
        self._frame = frame
        self._operation = operation
        self._inputs = inputs
        self._nodes = tuple(
            [node for tensor, node in inputs if tensor.is_floating_point() or tensor.is_complex()]  # carries_values
        )

    def node(self, output: Tensor, args: Sequence[object], kwargs: Mapping[str, object]) -> Node:
        """Return the node of one output tensor of the call."""
        node = self._node(output, args, kwargs)
        if self._operation.family in _MORE_LAYER_WORK:
            node.trainable = _of_a_layer(node.parents)
        if not node.stream and node.kind is not _SOURCE:
            # Token numbers choose rows of a table: no gradient flows through them, but the rows depend on the input.
            node.stream = any(source.stream for tensor, source in self._inputs if not carries_values(tensor))
        return node

    def _node(self, output: Tensor, args: Sequence[object], kwargs: Mapping[str, object]) -> Node:
        family = self._operation.family
        if family is _MAKES or not self._inputs:
            # What code outside every module makes (noise for a generator) is an input of the modules that receive it.
            return self._source(stream=self._frame is self._graph.outside)
        if family is _CUTS or not self._nodes or not carries_values(output):
            return self._source(stream=any(node.stream for _, node in self._inputs))
        if family in _CONTRACTING:
            node = self.contract(self._nodes)
            node.dense = self._mixes_positions()
            return node
        if family is _MULTIPLIES:
            return self._multiply(args, kwargs)
        if family in _SIMPLE:
            return self._step(_SIMPLE[family], self._nodes[0])
        return self._gather(family, output)

    def _gather(self, family: Family, output: Tensor) -> Node:
        """Return the node of a view or copy, of several values together, or of anything not known better."""
        if family is Family.CARRIES:
            return self._carry(output)
        if family is Family.SUBTRACTS and len(self._nodes) == 2 and is_smoothed(self._nodes[1], self._nodes[0]):  # noqa: PLR2004
            # The remainder of a moving average (series decomposition) is no more of a layer than the average itself.
            return self._step(Kind.POOL, self._nodes[0], self._nodes[:1])
        if family in _ADDING:
            return self._add()
        if family in _JOINING:
            return self._join(Kind.JOIN if family is Family.JOINS else Kind.OTHER)
        if family is Family.POOLS and output.numel() != self._inputs[0][0].numel():
            return self._step(Kind.POOL, self._nodes[0])
        return self._step(Kind.OTHER, None)

    def contract(self, nodes: tuple[Node, ...]) -> Node:
        """Return the node of a product that is linear in each of ``nodes``."""
        streams = [node for node in nodes if node.stream]
        if len(streams) > 1:
            node = self._step(Kind.PRODUCT, None, nodes)
        else:
            node = self._step(Kind.AFFINE, streams[0] if streams else nodes[0], nodes)
        node.trainable = _of_a_layer(nodes)
        return node

    def multiply(self, nodes: tuple[Node, ...], factor: float | None) -> Node:
        """Return the node of an element-wise product of ``nodes``; ``factor`` is the number in it, if it is one."""
        streams = [node for node in nodes if node.stream]
        if len(streams) > 1:
            return self._step(Kind.OTHER, None, nodes)
        node = self._step(Kind.SCALE, streams[0] if streams else nodes[0], nodes)
        node.factor = factor if len(nodes) == 1 else None
        return node

    def _source(self, *, stream: bool) -> Node:
        node = self._graph.make(self._operation.name, Kind.SOURCE, (), self._frame)
        node.stream = stream
        return node

    def _step(self, kind: Kind, main: Node | None, nodes: tuple[Node, ...] | None = None) -> Node:
        parents = self._nodes if nodes is None else nodes
        return self._graph.make(self._operation.name, kind, parents, self._frame, main=main)

    def _carry(self, output: Tensor) -> Node:
        whole, main = self._inputs[0]
        if output.numel() >= whole.numel() or output.numel() == 0:
            return self._step(Kind.CARRY, main, (main,))
        if main.slices is None:
            main.slices = {}
        key = (geometry(output), output.untyped_storage().data_ptr() if output._is_view() else len(main.slices))  # noqa: SLF001
        node = main.slices.get(key)
        if node is None:
            node = main.slices[key] = self._step(Kind.SLICE, main, (main,))
        return node

    def _join(self, mixed: Kind) -> Node:
        streams = {node for node in self._nodes if node.stream}
        if len(streams) == 1:
            return self._step(Kind.BIAS, next(iter(streams)))
        return self._step(mixed, None)

    def _multiply(self, args: Sequence[object], kwargs: Mapping[str, object]) -> Node:
        name = self._operation.name
        divides = name in {"div", "divide", "true_divide", "truediv", "itruediv", "rtruediv"}
        if self._operation.reflected and divides:
            return self._step(Kind.OTHER, None)
        factor: float | None = -1.0 if name in {"neg", "negative"} else None
        if len(self._inputs) == 1 and factor is None:
            values = [value for value in (*args, *kwargs.values()) if isinstance(value, (int, float))]
            factor = float(values[0]) if values else None
            if divides and factor is not None:
                factor = 1.0 / factor if factor else math.inf
        if divides and len(self._nodes) > 1 and self._nodes[-1].stream:
            return self._step(Kind.OTHER, None)
        return self.multiply(self._nodes, factor)

    def _add(self) -> Node:
        if len(self._inputs) == 1:
            if self._operation.reflected:
                node = self._step(Kind.SCALE, self._nodes[0])
                node.factor = -1.0
                return node
            return self._step(Kind.CARRY, self._nodes[0])
        if self._operation.family is Family.ADDS and all(node is self._nodes[0] for node in self._nodes):
            node = self._step(Kind.SCALE, self._nodes[0])
            node.factor = float(len(self._nodes))  # x + x
            return node
        return self._join(Kind.JOIN)

    def _mixes_positions(self) -> bool:
        if not self._operation.name.startswith("conv") or len(self._inputs) < 2:  # noqa: PLR2004 - input and weight
            return False
        shape = self._inputs[1][0].shape
        return math.prod(shape[2:]) > 1 and shape[1] > 1
