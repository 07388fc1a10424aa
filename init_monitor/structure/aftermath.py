"""What is computed after the network: the loss, a likelihood, or a record of the model's, inside the forward of a module.

A value belongs to it if all that was ever made of it ends in values that nothing reads and no module hands on: in single
numbers, as a rule. What a layer reads, or a module returns as a tensor, is the network's.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.structure.nodes import Kind, Node

if TYPE_CHECKING:
    from collections.abc import Callable


class Arithmetic(NamedTuple):
    """What of a forward is no part of the network.

    Attributes:
        activations: names of activations that were called as functions.
        sums: names of projection sums: two values that were computed from one side by side, and added.
    """

    activations: frozenset[str] = frozenset()
    sums: frozenset[str] = frozenset()


class Aftermath:
    """Counts who reads what while a forward runs."""

    def __init__(self) -> None:
        self._ends: set[Node] = set()
        self._readers: Counter[object] = Counter()

    def made(self, node: Node, *, outside: bool) -> None:
        """Note a value that a function made; ``outside`` of every module what it ends in is not looked at."""
        _read(node)
        if not outside:
            self._ends.difference_update(node.parents)
            if node.stream:
                self._ends.add(node)
        if node.kind is not Kind.CARRY:
            makers = {_maker(parent) for parent in node.parents}
            self._readers.update(maker for maker in makers if maker is not None)

    def shared(self) -> frozenset[object]:
        """Return what stands for the layers whose output is read by more than one function."""
        return frozenset(maker for maker, count in self._readers.items() if count > 1)

    def values(self, stays: Callable[[Node], bool]) -> list[Node]:
        """Return the values that belong to it; it is not looked for behind those that ``stay`` the network's."""
        waiting = [node for node in self._ends if not node.uses and not stays(node)]
        found: list[Node] = []
        read: Counter[Node] = Counter()
        while waiting:
            node = waiting.pop()
            found.append(node)
            for parent in node.parents:
                read[parent] += 1
                if read[parent] == parent.uses and parent.stream and not stays(parent):
                    waiting.append(parent)
        return found


def _read(node: Node) -> None:
    """Count a value in with those that it was made of, and with what those stand for that no function made as such."""
    waiting = [node]
    while waiting:
        for parent in waiting.pop().parents:
            parent.uses += 1
            if parent.uses == 1 and not parent.size:
                waiting.append(parent)


def _maker(node: Node) -> object:
    at: Node | None = node
    while at is not None and at.maker is None and at.kind is Kind.CARRY:
        at = at.main
    return None if at is None else at.maker
