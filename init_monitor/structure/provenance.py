"""The graph of tensor versions: which operation made a value, from which values, in which module call.

The map from live tensors to nodes holds weak references, so nothing is kept alive. In-place writes and views are told
apart by the version counter that a tensor shares with all its views, and by the storage they share.
"""

from __future__ import annotations

import weakref
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from torch import Tensor, nn

from init_monitor.structure.nodes import Frame, Kind, Node

if TYPE_CHECKING:
    from collections.abc import Collection


_RECENT = 512
"""Tensors, latest first, among which the inputs of an unseen function are looked for."""
_AUTOGRAD_STEPS = 256
"""Autograd nodes that are followed back from the output of an unseen function."""


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


_Entry: TypeAlias = "tuple[weakref.ref[Tensor], int, Node]"
"""A tensor, how often it had been written to, and what it was then. Plain, as one is made for every value."""


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
        self.leaves: list[weakref.ref[Tensor]] = []
        """Sources that require a gradient."""

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
        """Make ``node`` the current version of ``tensor``."""
        self._entries[id(tensor)] = (weakref.ref(tensor), version_of(tensor), node)

    def wrote(self, tensor: Tensor, node: Node) -> None:
        """Note that ``tensor`` was written in place and is ``node`` now: its views and its base changed with it."""
        self._writes.setdefault(_storage_key(tensor), []).append(_Write(version_of(tensor), node, geometry(tensor)))
        self.bind(tensor, node)

    def seen(self, tensor: Tensor) -> Node | None:
        """Return the node of the tensor's current version, ``None`` if the tensor was not seen before."""
        entry = self._entries.get(id(tensor))
        return None if entry is None or entry[0]() is not tensor else self.node_of(tensor)

    def node_of(self, tensor: Tensor) -> Node:
        """Return the node of the tensor's current version; a tensor never seen becomes a source."""
        entry = self._entries.get(id(tensor))
        if entry is not None and entry[0]() is tensor:
            try:
                if entry[1] == tensor._version:  # noqa: SLF001 - as in version_of, asked a dozen times per layer
                    return entry[2]
            except RuntimeError:
                return entry[2]  # it keeps no count
            node = self._rewritten(tensor, entry)
        else:
            node = self._unseen(tensor)
        self.bind(tensor, node)
        return node

    def _unseen(self, tensor: Tensor) -> Node:
        parameter = type(tensor) is nn.Parameter or isinstance(tensor, nn.Parameter)  # the former is asked in C
        sources = [] if parameter or tensor.grad_fn is None else self._behind(tensor)
        if sources:
            node = self.make("unseen", Kind.OTHER, tuple(sources), self.outside)
            node.trainable = True
            return node
        node = self.make("source", Kind.SOURCE, (), self.outside)
        node.size = tensor.numel()
        if tensor.requires_grad:
            self.leaves.append(weakref.ref(tensor))
        if parameter:
            node.param = True
            node.parameter = id(tensor)
        elif id(tensor) not in self._constants:
            node.stream = True
        return node

    def _behind(self, tensor: Tensor) -> list[Node]:
        """Ask autograd which known tensors a tensor was computed from, where the probe saw no function make it.

        Scripted functions, extensions and function transforms make such tensors. Autograd is asked only about those.
        """
        if tensor.grad_fn is None:
            return []
        known: dict[object, Node] = {}
        for entry in islice(reversed(self._entries.values()), _RECENT):
            alive = entry[0]()
            if alive is not None and entry[1] == version_of(alive):
                known[alive.grad_fn or alive] = entry[2]
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
        _, seen, node = entry
        shown = geometry(tensor)
        for write in self._writes.get(_storage_key(tensor), ()):
            if write.version <= seen:
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
