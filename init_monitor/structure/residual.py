"""Which sums are residual additions: the rules, over nodes alone.

A sum is an *identity* residual if one term, followed back through whatever only carries or scales it, is an ancestor of
the other term, and the way between computes what a layer would. It is a *projection* residual if both terms come from
one recent value, one of them by a light affine map only and the other by more.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from init_monitor.structure.nodes import Frame, Kind, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

_CARRIED = frozenset({Kind.CARRY, Kind.SLICE, Kind.SCALE, Kind.RESIDUAL})
_LIGHT = _CARRIED | {Kind.BIAS, Kind.POOL, Kind.NORM, Kind.AFFINE}
_TRIVIAL = frozenset({Kind.SOURCE, Kind.CARRY, Kind.SLICE, Kind.SCALE, Kind.BIAS, Kind.JOIN, Kind.RESIDUAL})

_FORKED = frozenset({Kind.CARRY, Kind.SLICE, Kind.SCALE, Kind.BIAS, Kind.POOL, Kind.NORM})
_SIDE_BY_SIDE = frozenset({"cat", "concat", "concatenate", "stack"})

_FORK_LIMIT = 32
"""Steps back over the parts of a join; real ones need fewer than ten."""
_LIGHT_MAPS = 2
"""Weighted maps in a projection shortcut: one, or depthwise and pointwise (GhostNet)."""
_DEEPER = 2
"""A shortcut with an activation of its own before its one map (DPN) needs a branch of this many maps more."""
_WALK_LIMIT = 50_000
"""Values looked at per term before it is left undecided: a bound on time that no known model reaches."""

# State of a way from a branch back to one of its ancestors, as bits of an index into a set of states.
_REAL, _NONLINEAR, _SLICED = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a residual addition was found to be.

    Attributes:
        skip_is_left: True if the first term is the skip.
        projection: True if the skip is an affine map of what the branch starts from.
        skip_scale, branch_scale: number by which the term was multiplied last, ``None`` if by a tensor.
        long: True if the skip passes over other residual additions of the same stream.
        query: True if the skip is a part of the value, or a learned token, that the branch looks at.
        inner: numbers of the residual additions inside the branch.
    """

    skip_is_left: bool
    projection: bool
    skip_scale: float | None
    branch_scale: float | None
    long: bool
    query: bool
    inner: tuple[int, ...]


def judge(left: Node, right: Node, owner: Frame, *, subtracts: bool = False) -> Verdict | None:
    """Return what the sum of two values of one shape is, ``None`` if it is no residual addition."""
    orders = ((left, right, True),) if subtracts else ((left, right, True), (right, left, False))
    for projection in (False, True):
        for skip, branch, skip_is_left in orders:
            meeting = _meet(skip, branch, owner, projection=projection)
            if meeting is not None:
                return _verdict(meeting, owner, skip_is_left=skip_is_left, projection=projection)
    return None


@dataclass(slots=True)
class _Step:
    """One value on the way back from a skip.

    ``sliced``: only a part of it reaches the skip; ``activated``: an activation lies between.
    """

    node: Node
    sliced: bool
    activated: bool


@dataclass(slots=True)
class _Meeting:
    """Where two terms meet: the value, and all that was passed on the way back to it, latest first."""

    skip: Node
    branch: Node
    start: _Step
    way: list[Node]


def _back(skip: Node, *, light: bool) -> Iterator[_Step]:
    """Follow a skip back through carrying steps, or through a light affine map."""
    node: Node | None = skip
    sliced = activated = False
    maps = 0
    while node is not None:
        yield _Step(node, sliced, activated)
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
        if node.kind is Kind.SLICE:
            sliced = True
        node = node.main


def _fork(joined: Node) -> Node | None:
    """Return the one value that all joined parts come from by light maps without weights, ``None`` if there is none.

    Two kinds of pooling side by side (Hiera) and a class token beside pooled positions (MViT) are such joins.
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


def _scope(owner: Frame, branch: Node) -> Frame:
    """Return the call in which a projection block must lie: the owner, or around it if the owner only adds."""
    scope = owner
    while scope.parent is not None and not scope.trainable and not scope.contains(branch.frame):
        scope = scope.parent
    return scope


def _crossed(states: int, node: Node, owner: Frame) -> int:
    """Return the states after going back over ``node``."""
    gained = 0
    if node.kind not in _TRIVIAL:
        if node.trainable or not node.frame.contains(owner):
            gained |= _REAL
        if node.kind in {Kind.OTHER, Kind.ACTIVATION}:
            gained |= _NONLINEAR
    elif node.kind is Kind.RESIDUAL and node.frame is not owner:
        gained |= _NONLINEAR  # a part of the branch is a residual block itself: more than an affine map
    after = 0
    for state in range(8):
        if states >> state & 1:
            new = state | gained
            if node.kind is Kind.SLICE:
                new |= _SLICED
            elif node.kind not in _CARRIED:
                new &= ~_SLICED
            after |= 1 << new
    return after


def _accepts(states: int, start: _Step, *, projection: bool) -> bool:
    for state in range(8):
        if not states >> state & 1 or not state & _REAL:
            continue
        if projection and not state & _NONLINEAR:
            continue
        if start.sliced and state & _SLICED:
            continue
        return True
    return False


def _meet(skip: Node, branch: Node, owner: Frame, *, projection: bool) -> _Meeting | None:
    """Find the nearest value that the skip carries (or maps) and the branch comes from; judge the way between."""
    scope = _scope(owner, branch) if projection else None
    steps = _back(skip, light=projection)
    step = next(steps, None)
    states: dict[Node, int] = {branch: 1}
    heap: list[tuple[int, Node]] = [(-branch.index, branch)]
    way: list[Node] = []
    while heap and len(way) < _WALK_LIMIT:
        _, node = heapq.heappop(heap)
        while step is not None and step.node.index > node.index:
            step = next(steps, None)
        if step is None:
            return None
        if step.node is node:
            meeting = _Meeting(skip, branch, step, way)
            if not _accepts(states[node], step, projection=projection):
                return None
            return None if step.activated and _maps(meeting) < 1 + _DEEPER else meeting
        if scope is not None and not scope.contains(node.frame):
            continue
        way.append(node)
        after = _crossed(states[node], node, owner)
        parents = (node.main,) if node.kind is Kind.RESIDUAL and node.main is not None else node.parents
        for parent in parents:
            if parent in states:
                states[parent] |= after
            else:
                states[parent] = after
                heapq.heappush(heap, (-parent.index, parent))
    return None


def _maps(meeting: _Meeting) -> int:
    """Return the most weighted maps on a way from where the terms meet to the branch."""
    most = {meeting.start.node: 0}
    for node in reversed(meeting.way):
        counts = [most[parent] for parent in node.parents if parent in most]
        if counts:
            most[node] = max(counts) + (node.kind is Kind.AFFINE)
    return max(most.values())


def _scale(term: Node, start: Node) -> float | None:
    """Return the number by which a term was multiplied since it was last computed."""
    factor = 1.0
    node: Node | None = term
    while node is not None and node is not start and node.kind in {Kind.CARRY, Kind.SLICE, Kind.SCALE}:
        if node.kind is Kind.SCALE:
            if node.factor is None:
                return None
            factor *= node.factor
        node = node.main
    return factor


def _verdict(meeting: _Meeting, owner: Frame, *, skip_is_left: bool, projection: bool) -> Verdict:
    start = meeting.start.node
    reached = {start}
    inner: list[int] = []
    long = False
    for node in reversed(meeting.way):
        if reached.isdisjoint(node.parents):
            continue
        reached.add(node)
        if node.kind is Kind.RESIDUAL:
            inner.append(node.site)
            if not owner.contains(node.frame) or any(s.node is start for s in _back(node, light=False)):
                long = True
    return Verdict(
        skip_is_left=skip_is_left,
        projection=projection,
        skip_scale=_scale(meeting.skip, start),
        branch_scale=_scale(meeting.branch, start),
        long=long,
        query=not start.stream or meeting.start.sliced or start.kind is Kind.SLICE,
        inner=() if long else tuple(inner),
    )
