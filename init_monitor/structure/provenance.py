"""The graph of tensor versions: which operation made a value, from which values, in which module call.

A :class:`Node` is one version of one tensor. Nodes point to nodes, never to tensors, and the map from live tensors to
nodes holds weak references, so nothing is kept alive. In-place writes and views are told apart by the version counter
that a tensor shares with all its views, and by the storage they share.
"""

from __future__ import annotations

import weakref
from enum import Enum, auto
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Collection


_RECENT = 512
"""Tensors, latest first, among which the inputs of an unseen function are looked for."""
_AUTOGRAD_STEPS = 256
"""Autograd nodes that are followed back from the output of an unseen function."""


class Frame:
    """One call of one module: where it is in the model, and the call it was made from.

    Attributes:
        name: qualified name of the module, empty for the model itself and for code outside every module.
        parent: the call that made this one, ``None`` outside every module.
        call: which call of that module it is, from 1; 0 outside every module.
        depth: calls around this one.
        built_in_activation: True for an activation module of torch.nn (its call is tapped as a module).
        trainable: True if the module owns parameters, its own or its children's.
    """

    __slots__ = ("built_in_activation", "call", "depth", "name", "parent", "trainable")

    def __init__(
        self,
        name: str,
        parent: Frame | None = None,
        call: int = 0,
        *,
        built_in_activation: bool = False,
        trainable: bool = False,
    ) -> None:
        self.name = name
        self.parent = parent
        self.call = call
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.built_in_activation = built_in_activation
        self.trainable = trainable

    def contains(self, other: Frame) -> bool:
        """Return True if ``other`` is this call or was made from within it."""
        inner: Frame | None = other
        while inner is not None and inner.depth > self.depth:
            inner = inner.parent
        return inner is self


class Kind(Enum):
    """How a value was made; all but SOURCE, JOIN and OTHER come from one value (``Node.main``)."""

    SOURCE = auto()
    """No parents: an input, a parameter, a constant, a detached value."""
    CARRY = auto()
    """The same elements: view, copy, cast, dropout, padding, a number added."""
    SLICE = auto()
    """Some of the elements."""
    SCALE = auto()
    """A multiple by a number, a parameter or a constant."""
    BIAS = auto()
    """A parameter or constant added or put beside it."""
    JOIN = auto()
    """Several values added, concatenated or chosen between."""
    RESIDUAL = auto()
    """A residual addition; ``main`` is its skip."""
    POOL = auto()
    """A reduction over, or an interpolation between, positions that changes their number."""
    NORM = auto()
    ACTIVATION = auto()
    """A nonlinearity of each element for itself."""
    AFFINE = auto()
    """Linear in one value: linear, convolution, product with a parameter matrix."""
    OTHER = auto()
    """Anything else; taken for nonlinear."""


class Node:
    """One version of one tensor.

    Attributes:
        index: order of creation; a parent's is always smaller.
        operation: name of the torch function.
        kind: how it was made.
        parents: the values it was made from.
        main: the one value that it carries on, where there is one.
        frame: the module call that made it.
        factor: the number it was multiplied by, ``None`` if by a tensor.
        stream: True if it depends on an input of the model.
        param: True if it depends on a parameter.
        trainable: True if it is a layer's work: the operation took a parameter, or something made of parameters only.
        dense: True for a convolution that mixes channels over more than one position.
        site: number of the residual addition that made it, -1 for all others.
    """

    __slots__ = (
        "dense",
        "factor",
        "frame",
        "index",
        "kind",
        "main",
        "operation",
        "param",
        "parents",
        "site",
        "slices",
        "stream",
        "trainable",
    )

    def __init__(self, index: int, operation: str, kind: Kind, parents: tuple[Node, ...], frame: Frame) -> None:
        self.index = index
        self.operation = operation
        self.kind = kind
        self.parents = parents
        self.frame = frame
        self.main: Node | None = None
        self.factor: float | None = 1.0
        self.dense = False
        self.site = -1
        self.slices: dict[object, Node] | None = None
        self.stream = self.param = self.trainable = False
        for parent in parents:
            self.stream = self.stream or parent.stream
            self.param = self.param or parent.param


class _Geometry(NamedTuple):
    """Which elements of its storage a tensor shows."""

    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def geometry(tensor: Tensor) -> _Geometry | None:
    """Return which elements of its storage a tensor shows, ``None`` where that has no meaning (sparse tensors)."""
    try:
        return _Geometry(int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride())
    except (RuntimeError, NotImplementedError):
        return None


def version_of(tensor: Tensor) -> int:
    """Return the count of in-place writes, 0 for inference tensors, which keep none."""
    try:
        return tensor._version  # noqa: SLF001 - the public way to read it does not exist
    except RuntimeError:
        return 0


def _storage_key(tensor: Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - identity of a storage, without its address
    except (RuntimeError, NotImplementedError):
        return id(tensor)


class _Entry(NamedTuple):
    reference: weakref.ref[Tensor]
    version: int
    node: Node


class _Write(NamedTuple):
    version: int
    node: Node
    geometry: _Geometry | None


class Provenance:
    """Nodes of the tensors seen since it was made.

    Args:
        constants: ``id`` of tensors that are neither inputs nor trained (buffers of the model).
    """

    def __init__(self, constants: Collection[int] = ()) -> None:
        self.outside = Frame("")
        self._constants = constants
        self._entries: dict[int, _Entry] = {}
        self._writes: dict[int, list[_Write]] = {}
        self._count = 0

    def make(
        self,
        operation: str,
        kind: Kind,
        parents: tuple[Node, ...],
        frame: Frame,
        *,
        main: Node | None = None,
    ) -> Node:
        """Add a node to the graph."""
        node = Node(self._count, operation, kind, parents, frame)
        node.main = main
        self._count += 1
        return node

    def bind(self, tensor: Tensor, node: Node) -> None:
        """Say that ``node`` is the current version of ``tensor``."""
        self._entries[id(tensor)] = _Entry(weakref.ref(tensor), version_of(tensor), node)

    def wrote(self, tensor: Tensor, node: Node) -> None:
        """Say that ``tensor`` was written in place and is ``node`` now: its views and its base changed with it."""
        self._writes.setdefault(_storage_key(tensor), []).append(_Write(version_of(tensor), node, geometry(tensor)))
        self.bind(tensor, node)

    def knows(self, tensor: Tensor) -> bool:
        """Return True if the tensor was seen before."""
        entry = self._entries.get(id(tensor))
        return entry is not None and entry.reference() is tensor

    def node_of(self, tensor: Tensor) -> Node:
        """Return the node of the tensor's current version; a tensor never seen becomes a source."""
        entry = self._entries.get(id(tensor))
        if entry is not None and entry.reference() is tensor:
            if entry.version == version_of(tensor):
                return entry.node
            node = self._rewritten(tensor, entry)
        else:
            node = self._unseen(tensor)
        self.bind(tensor, node)
        return node

    def _unseen(self, tensor: Tensor) -> Node:
        sources = [] if isinstance(tensor, nn.Parameter) else self._behind(tensor)
        if sources:
            node = self.make("unseen", Kind.OTHER, tuple(sources), self.outside)
            node.trainable = True
            return node
        node = self.make("source", Kind.SOURCE, (), self.outside)
        if isinstance(tensor, nn.Parameter):
            node.param = True
        elif id(tensor) not in self._constants:
            node.stream = True
        return node

    def _behind(self, tensor: Tensor) -> list[Node]:
        """Ask autograd which known tensors a tensor was computed from, where the probe saw no function make it.

        Scripted functions, extensions and function transforms make such tensors. It is asked only for them.
        """
        if tensor.grad_fn is None:
            return []
        known: dict[object, Node] = {}
        for entry in islice(reversed(self._entries.values()), _RECENT):
            alive = entry.reference()
            if alive is not None and entry.version == version_of(alive):
                known[alive.grad_fn or alive] = entry.node
        found: list[Node] = []
        waiting: list[object] = [tensor.grad_fn]
        for _ in range(_AUTOGRAD_STEPS):
            if not waiting:
                break
            function = waiting.pop()
            node = known.get(getattr(function, "variable", function))
            if node is not None:
                found.append(node)
            else:
                waiting += [behind for behind, _ in getattr(function, "next_functions", ()) if behind is not None]
        return found

    def _rewritten(self, tensor: Tensor, entry: _Entry) -> Node:
        """Follow the writes, through any view, that happened since the tensor was last seen."""
        node = entry.node
        shown = geometry(tensor)
        for write in self._writes.get(_storage_key(tensor), ()):
            if write.version <= entry.version:
                continue
            if shown is not None and write.geometry is not None:
                if (write.geometry.offset, _size(write.geometry)) == (shown.offset, _size(shown)):
                    node = self.make("alias", Kind.CARRY, (write.node,), write.node.frame, main=write.node)
                    continue
                if write.geometry.shape == shown.shape and write.geometry.stride == shown.stride:
                    continue  # another chunk of the same base: these elements did not change
            node = self.make("alias", Kind.JOIN, (node, write.node), write.node.frame)
        return node


def _size(shown: _Geometry) -> int:
    size = 1
    for length in shown.shape:
        size *= length
    return size
