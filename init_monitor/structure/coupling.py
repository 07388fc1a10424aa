"""Two streams that alternate, as in reversible networks: ``y1 = x1 + F(x2)``, ``y2 = x2 + G(y1)``.

Each sum's branch starts from the other stream, so that neither skip is an ancestor of its own branch by the rule that a
stream is entered through its skip. The sign is that the branch comes from a sum whose own branch comes from the skip.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from init_monitor.structure.meeting import REAL, WALK_LIMIT, back_to_value, crossed
from init_monitor.structure.nodes import Frame, Kind, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUMS = 4
"""Sums of the other stream that are tried: its last one, or one of those inside the branch."""


def coupled(skip: Node, branch: Node, owner: Frame) -> bool:
    """Say whether a sum couples two streams.

    Args:
        skip: one of its terms.
        branch: the other.
        owner: the call that adds.
    """
    value = back_to_value(skip).node
    if not value.stream:
        return False
    tried = 0
    for node, states in _ancestors(branch, owner):
        if node.kind is not Kind.RESIDUAL or node.main is None or node.size != skip.size or not _is_real(states):
            continue
        other = next((parent for parent in node.parents if parent is not node.main), None)
        if other is not None and _comes_from(other, value, owner) and _apart(node.main, value, owner):
            return True
        tried += 1
        if tried == _SUMS:
            return False
    return False


def _comes_from(branch: Node, value: Node, owner: Frame) -> bool:
    """Say whether a branch computes something from a value."""
    return any(node is value and _is_real(states) for node, states in _ancestors(branch, owner, oldest=value.index))


def _apart(skip: Node, value: Node, owner: Frame) -> bool:
    """Say whether neither stream was made from the other, except through sums."""
    own = back_to_value(skip).node
    if own is value:
        return False
    early, late = sorted((own, value), key=lambda node: node.index)
    return all(node is not early for node, _ in _ancestors(late, owner, oldest=early.index))


def _is_real(states: int) -> bool:
    return any(states >> state & 1 and state & REAL for state in range(8))


def _ancestors(start: Node, owner: Frame, *, oldest: int = 0) -> Iterator[tuple[Node, int]]:
    """Yield the values that a value was made from, latest first, with the states of the ways to each.

    Sums are entered through their skips; values before number ``oldest`` are not visited.
    """
    states: dict[Node, int] = {start: 1}
    heap: list[tuple[int, Node]] = [(-start.index, start)]
    for _ in range(WALK_LIMIT):
        if not heap or -heap[0][0] < oldest:
            return
        _, node = heapq.heappop(heap)
        yield node, states[node]
        after = crossed(states[node], node, owner)
        for parent in (node.main,) if node.kind is Kind.RESIDUAL and node.main is not None else node.parents:
            if parent not in states:
                heapq.heappush(heap, (-parent.index, parent))
            states[parent] = states.get(parent, 0) | after
