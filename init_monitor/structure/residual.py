"""Which sums are residual additions: the rules, over nodes alone.

A sum is an *identity* residual if one term, followed back through whatever only carries or scales it, is an ancestor of
the other term, and the way between computes what a layer would. It is a *projection* residual if both terms come from
one recent value, one of them by a light affine map only and the other by more. And it is one of two *coupled* streams if
each takes its branch from the other.
"""

from __future__ import annotations

from typing import NamedTuple

from init_monitor.structure.coupling import coupled
from init_monitor.structure.meeting import Meeting, back, back_to_value, meet
from init_monitor.structure.nodes import Frame, Kind, Node
from init_monitor.structure.operations import NOISE


class ResidualForm(NamedTuple):
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


def judge(left: Node, right: Node, owner: Frame, *, subtracts: bool = False) -> ResidualForm | None:
    """Return the form of a sum of two values of one shape, ``None`` if it is not a residual addition."""
    orders = ((left, right, True),) if subtracts else ((left, right, True), (right, left, False))
    for projection in (False, True):
        for skip, branch, skip_is_left in orders:
            if projection and _is_noise(branch):
                continue  # mean + deviation * noise, both computed from one value: a sample
            meeting = meet(skip, branch, owner, projection=projection)
            if meeting is not None:
                return _form(meeting, owner, skip_is_left=skip_is_left, projection=projection)
    for skip, branch, skip_is_left in orders:
        if coupled(skip, branch, owner):
            meeting = Meeting(skip, branch, back_to_value(skip), [])
            return _form(meeting, owner, skip_is_left=skip_is_left, projection=False)
    return None


def _is_noise(term: Node) -> bool:
    """Return True for noise that was scaled: by a number, or by a value that was computed."""
    node: Node | None = term
    while node is not None:
        if any(_draws(parent) for parent in node.parents):
            return True
        node = node.main if node.kind in {Kind.CARRY, Kind.SCALE} else None
    return False


def _draws(node: Node) -> bool:
    at: Node | None = node
    while at is not None and at.kind is Kind.CARRY:
        at = at.main
    return at is not None and at.kind is Kind.SOURCE and at.operation in NOISE


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


def _form(meeting: Meeting, owner: Frame, *, skip_is_left: bool, projection: bool) -> ResidualForm:
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
            if not owner.contains(node.frame) or any(s.node is start for s in back(node, light=False)):
                long = True
    return ResidualForm(
        skip_is_left=skip_is_left,
        projection=projection or meeting.shared_map(owner),
        skip_scale=_scale(meeting.skip, start),
        branch_scale=_scale(meeting.branch, start),
        long=long,
        query=not meeting.halved and (not start.stream or meeting.start.sliced or start.kind is Kind.SLICE),
        inner=() if long else tuple(inner),
    )
