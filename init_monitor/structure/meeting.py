"""Where the two terms of a sum meet: back through the graph from both, to the nearest value they share."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from init_monitor.structure.nodes import Frame, Kind, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

_CARRIED = frozenset({Kind.CARRY, Kind.SLICE, Kind.SCALE, Kind.RESIDUAL})
_LIGHT = _CARRIED | {Kind.BIAS, Kind.POOL, Kind.NORM, Kind.AFFINE}
_TRIVIAL = frozenset({Kind.SOURCE, Kind.CARRY, Kind.SLICE, Kind.SCALE, Kind.BIAS, Kind.JOIN, Kind.RESIDUAL})

_FORKED = frozenset({Kind.CARRY, Kind.SLICE, Kind.SCALE, Kind.BIAS, Kind.POOL, Kind.NORM})
_FITTED = frozenset({Kind.CARRY, Kind.SLICE, Kind.SCALE, Kind.POOL})
_SIDE_BY_SIDE = frozenset({"cat", "concat", "concatenate", "stack"})

_FORK_LIMIT = 32
"""Steps back over the parts of a join; real ones need fewer than ten."""
_LIGHT_MAPS = 2
"""Weighted maps in a projection shortcut: one, or depthwise and pointwise (GhostNet)."""
_DEEPER = 2
"""A shortcut with an activation of its own before its one map (DPN) needs a branch of this many maps more."""
WALK_LIMIT = 50_000
"""Values looked at per term before giving up: a bound on time that no known model reaches."""

_TWO = 2

# State of a path from a branch back to one of its ancestors, as bits of an index into a set of states.
REAL, _NONLINEAR, _SLICED = 1, 2, 4


@dataclass(slots=True)
class Step:
    """One value on the path back from a skip.

    ``sliced``: only a part of it reaches the skip; ``activated``: an activation lies between; ``pooled`` and ``mapped``:
    a reduction over positions, a map with weights or a normalisation does.
    """

    node: Node
    sliced: bool = False
    activated: bool = False
    pooled: bool = False
    mapped: bool = False


@dataclass(slots=True)
class Meeting:
    """Where two terms meet: the value, and everything passed on the path back to it, latest first.

    ``halved``: the value was split in two, one part for the skip and one for the branch.
    """

    skip: Node
    branch: Node
    start: Step
    way: list[Node]
    halved: bool = False

    def shared_map(self, owner: Frame) -> bool:
        """Say whether one map of the owner made both the skip and what the branch starts from."""
        whole = self.start.node
        while whole.kind is Kind.CARRY and whole.main is not None:
            whole = whole.main
        return self.halved and whole.kind is Kind.AFFINE and whole.trainable and owner.contains(whole.frame)


def back(skip: Node, *, light: bool) -> Iterator[Step]:
    """Follow a skip back through carrying steps, or through a light affine map."""
    node: Node | None = skip
    sliced = activated = pooled = mapped = False
    maps = 0
    while node is not None:
        yield Step(node, sliced, activated, pooled, mapped)
        if light and node.kind is Kind.ACTIVATION and maps == 1 and not activated:
            activated = True
        elif light and node.kind is Kind.JOIN:
            node = _fork(node)
            continue
        elif node.kind not in (_LIGHT if light else _CARRIED):
            return
        if node.kind is Kind.AFFINE:
            maps += 1
            if maps > _LIGHT_MAPS or node.dense or activated:
                return
        sliced = sliced or node.kind is Kind.SLICE
        pooled = pooled or node.kind is Kind.POOL
        mapped = mapped or node.kind in {Kind.AFFINE, Kind.NORM}
        node = node.main


def back_to_value(skip: Node) -> Step:
    """Return the value that a skip carries or scales."""
    node = skip
    while node.kind in {Kind.CARRY, Kind.SCALE} and node.main is not None:
        node = node.main
    return Step(node)


def _fork(joined: Node) -> Node | None:
    """Return the one value that all joined parts come from by light maps without weights, ``None`` if there is none.

    Two kinds of pooling in parallel (Hiera) and a class token next to pooled positions (MViT) are such joins.
    """
    if joined.operation not in _SIDE_BY_SIDE:
        return None
    parts = {parent.index: parent for parent in joined.parents if parent.stream}
    for _ in range(_FORK_LIMIT if parts else 0):
        node = parts.pop(max(parts))
        if not parts:
            return node
        if node.main is None or node.kind not in _FORKED:
            return None
        parts[node.main.index] = node.main
    return None


def _scope(owner: Frame, skip: Node, branch: Node) -> Frame:
    """Return the call in which a projection block must lie: the owner, or around it if the owner only adds.

    So does an owner without a weight that mixes units: it may normalise the sum. Its block is what made both terms.
    """
    scope = owner
    terms = _handed(owner, skip), _handed(owner, branch)
    if not owner.mixes and not any(owner.contains(term.frame) for term in terms):
        while scope.parent is not None and not all(scope.contains(term.frame) for term in terms):
            scope = scope.parent
    while scope.parent is not None and not scope.trainable and not scope.contains(branch.frame):
        scope = scope.parent
    return scope


def _handed(owner: Frame, term: Node) -> Node:
    """Return the argument of a call that it moved, scaled or pooled before adding it."""
    node = term
    while node.main is not None and node.kind in _FITTED and owner.contains(node.frame):
        node = node.main
    return node


def crossed(states: int, node: Node, owner: Frame) -> int:
    """Return the states after going back over ``node``."""
    gained = 0
    if node.kind not in _TRIVIAL:
        if node.trainable or (node.kind is not Kind.POOL and not node.frame.contains(owner)):
            gained |= REAL
        if node.kind in {Kind.OTHER, Kind.ACTIVATION}:
            gained |= _NONLINEAR
    elif node.kind is Kind.RESIDUAL and node.frame is not owner:
        gained |= _NONLINEAR  # a part of the branch is a residual block itself: more than an affine map
    if node.kind is Kind.SLICE:
        return _after(states, gained | _SLICED, 0)
    return _after(states, gained, 0 if node.kind in _CARRIED else _SLICED)


@cache
def _after(states: int, gained: int, lost: int) -> int:
    """Return the states with bits gained, and then some lost."""
    after = 0
    for state in range(8):
        if states >> state & 1:
            after |= 1 << ((state | gained) & ~lost)
    return after


def _accepts(states: int, start: Step, *, projection: bool, halved: bool) -> bool:
    for state in range(8):
        if not states >> state & 1 or not state & REAL:
            continue
        if projection and not state & _NONLINEAR:
            continue
        if start.sliced and state & _SLICED and not (halved and state & _NONLINEAR):
            continue
        return True
    return False


def _in_two(whole: Node) -> bool:
    """Return True for a value that consists of exactly two parts."""
    parts = list((whole.slices or {}).values())
    return len(parts) == _TWO and 0 < sum(part.size for part in parts) == whole.size


def meet(skip: Node, branch: Node, owner: Frame, *, projection: bool) -> Meeting | None:
    """Find the nearest value that the skip carries (or maps) and the branch comes from; judge the path in between."""
    scope = _scope(owner, skip, branch) if projection else None
    steps = back(skip, light=projection)
    step = next(steps, None)
    states: dict[Node, int] = {branch: 1}
    heap: list[tuple[int, Node]] = [(-branch.index, branch)]
    way: list[Node] = []
    while heap and len(way) < WALK_LIMIT:
        _, node = heapq.heappop(heap)
        while step is not None and step.node.index > node.index:
            step = next(steps, None)
        if step is None:
            return None
        if step.node is node:
            halved = step.sliced and not projection and _in_two(node) and all(x.kind is not Kind.RESIDUAL for x in way)
            if _accepts(states[node], step, projection=projection, halved=halved):
                meeting = Meeting(skip, branch, step, way, halved)
                return meeting if _takes_a_shortcut(meeting) else None
            if node.kind is not Kind.CARRY:
                return None
            # A view of the value is not yet the value: a layer may have read it before it was turned around.
        if scope is not None and not scope.contains(node.frame):
            continue
        way.append(node)
        after = crossed(states[node], node, owner)
        parents = (node.main,) if node.kind is Kind.RESIDUAL and node.main is not None else node.parents
        for parent in parents:
            if parent in states:
                states[parent] |= after
            else:
                states[parent] = after
                heapq.heappush(heap, (-parent.index, parent))
    return None


def _takes_a_shortcut(meeting: Meeting) -> bool:
    """Say whether the skip leaves less out than the branch puts in."""
    start = meeting.start
    if start.pooled and not start.mapped and start.node.size == meeting.skip.size:
        return False  # a moving average leaves out what the branch is made from
    return not start.activated or _maps(meeting) >= 1 + _DEEPER


def _maps(meeting: Meeting) -> int:
    """Return the most weighted maps on any path from where the terms meet to the branch."""
    most = {meeting.start.node: 0}
    for node in reversed(meeting.way):
        counts = [most[parent] for parent in node.parents if parent in most]
        if counts:
            most[node] = max(counts) + (node.kind is Kind.AFFINE)
    return max(most.values())
