"""What is computed after the network, inside the forward of a module: the loss, a likelihood, or something only logged.

A value belongs to it if everything computed from it ends in values that nothing reads and no module returns: single
numbers, as a rule. What a layer reads, or a module returns as a tensor, belongs to the network.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.structure.meeting import back_to_value
from init_monitor.structure.nodes import Kind, Node

if TYPE_CHECKING:
    from collections.abc import Callable


_CARRY = Kind.CARRY


class Arithmetic(NamedTuple):
    """The parts of a forward that do not belong to the network.

    Attributes:
        activations: names of activations that were called as functions.
        sums: names of sums: of two values that were computed from one side by side, or of what a likelihood is of.
    """

    activations: frozenset[str] = frozenset()
    sums: frozenset[str] = frozenset()


class Aftermath:
    """Counts the readers of each value while a forward runs."""

    def __init__(self) -> None:
        self._ends: set[Node] = set()
        self._readers: dict[object, int] = {}

    def made(self, node: Node, *, outside: bool) -> None:
        """Note a value that a function made, and whether ``outside`` of every module.

        Outside, what it ends in is not looked at, and single numbers that are read are terms of a loss.
        """
        _read(node, numbers=not outside)
        parents = node.parents
        if not outside:
            self._ends.difference_update(parents)
            if node.stream:
                self._ends.add(node)
        if node.kind is not _CARRY:
            # Once each: a function that takes a value twice reads it once.
            makers: list[object] = []
            for parent in parents:
                maker = _maker(parent)
                if maker is not None and maker not in makers:
                    makers.append(maker)
                    self._readers[maker] = self._readers.get(maker, 0) + 1

    def close(self) -> None:
        """Let go of the values of a forward that is over."""
        self._ends = set()

    def shared(self) -> frozenset[object]:
        """Return what stands for the layers whose output is read by more than one function."""
        return frozenset(maker for maker, count in self._readers.items() if count > 1)

    def values(self, stays: Callable[[Node], bool]) -> list[Node]:
        """Return the values that belong to it; nothing behind those that ``stay`` the network's is searched.

        A sum of an input and what was computed from it stays, unless the input is what the loss compares with: then it is
        a term of a likelihood (``lgamma(counts + dispersion)``).
        """
        waiting = [node for node in self._ends if not node.uses and not stays(node)]
        found: list[Node] = []
        read: Counter[Node] = Counter()
        kept: dict[Node, Node] = {}
        compared: set[Node] = set()
        while waiting:
            node = waiting.pop()
            found.append(node)
            for parent in node.parents:
                read[parent] += 1
                if parent.kind is Kind.SOURCE:
                    compared.add(parent)
                if read[parent] != parent.uses or not parent.stream:
                    continue
                if not stays(parent):
                    waiting.append(parent)
                elif parent.kind is Kind.RESIDUAL and parent.main is not None:
                    kept[parent] = back_to_value(parent.main).node
            if not waiting:
                waiting = [total for total, skip in kept.items() if skip in compared]
                kept = {total: skip for total, skip in kept.items() if skip not in compared}
        return found


def _read(node: Node, *, numbers: bool) -> None:
    """Count a value in with those that it was made of, and with what those stand for that no function made as such."""
    waiting: list[Node] | None = None
    at: Node | None = node
    while at is not None:
        for parent in at.parents:
            if numbers or parent.size != 1:
                parent.uses += 1
                if parent.uses == 1 and not parent.size:
                    waiting = waiting or []
                    waiting.append(parent)
        at = waiting.pop() if waiting else None


def _maker(node: Node) -> object:
    at: Node | None = node
    while at is not None and at.maker is None and at.kind is _CARRY:
        at = at.main
    return None if at is None else at.maker
