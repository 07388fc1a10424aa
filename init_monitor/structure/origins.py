"""What a layer's input was computed from: the nearest layers before it, the network's input, or what the network holds.

It is read off the probe's graph. The path back from a value ends at what a watched layer made and at what was made from
nothing; so an addition, a concatenation, a view or arithmetic in between loses nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from init_monitor.structure.nodes import Kind, Node
from init_monitor.structure.operations import DRAWS
from init_monitor.structure.products import products_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NOTHING: frozenset[Node] = frozenset()
_PEELED = frozenset({Kind.CARRY, Kind.SLICE, Kind.SCALE})
_WHOLE = frozenset({Kind.CARRY, Kind.POOL, Kind.BIAS})
"""Steps after which a value still counts as what a layer made, moved, thinned out, or with a parameter or constant added."""


class Origins(NamedTuple):
    """Where a value comes from.

    Attributes:
        makers: what stands for the layer calls that it was computed from with no layer between, in execution order.
        data: some of it comes from an input of the model, through no layer.
        own: some of it comes from parameters, buffers or constants alone.
        products: how many products ``x * F(x)`` in a row it went through.
        direct: the layer whose output it is, possibly moved, thinned out, pooled or with a parameter added; else ``None``.
    """

    makers: tuple[object, ...]
    data: bool
    own: bool
    direct: object = None
    products: int = 0


def origins_of(nodes: Sequence[Node]) -> Origins:
    """Return where the values that a layer received come from.

    Args:
        nodes: the first is the one that the layer works on. Of the others (keys and values, a second operand, a mask)
            only the layers count: a mask that is passed in does not make the layer a reader of the network's input.
    """
    if len(nodes) == 1 and nodes[0].maker is not None:
        return Origins((nodes[0].maker,), data=False, own=False, direct=nodes[0].maker)
    if len(nodes) == 1:
        ends = ends_of(nodes[0])
        if len(ends) == 1:
            (end,) = ends
            if end.maker is not None:
                return Origins((end.maker,), data=False, own=False, direct=_maker_of(nodes[0]))
    ends = ends_of(nodes[0]) if nodes else _NOTHING
    others = {end for node in nodes[1:] for end in ends_of(node) if end.maker is not None}
    found = sorted({*ends, *others}, key=lambda end: end.index)
    return Origins(
        makers=tuple(dict.fromkeys(end.maker for end in found if end.maker is not None)),
        data=any(_is_data(end) for end in found if end.maker is None),
        own=any(not _is_data(end) for end in found if end.maker is None),
        direct=_maker_of(nodes[0]) if nodes else None,
        products=products_in(nodes[0]) if nodes else 0,
    )


def ends_of(node: Node) -> frozenset[Node]:
    """Return the values that a value was computed from: the nearest made by layers, and those made from nothing.

    What comes from nothing but parameters and constants is left out if there is anything else.
    """
    if _is_end(node):
        return frozenset((node,))
    waiting = [node]
    while waiting:
        at = waiting[-1]
        if at.ends is None:
            behind = _behind(at)
            unknown = [parent for parent in behind if parent.ends is None and not _is_end(parent)]
            if unknown:
                waiting += unknown
                continue
            at.ends = _united(behind)
        waiting.pop()
    return node.ends or _NOTHING


def _maker_of(node: Node) -> object:
    at: Node | None = node
    while at is not None:
        if at.maker is not None:
            return at.maker
        at = at.main if at.kind in _WHOLE else None
    return None


def maker_before_factors(node: Node) -> object:
    """Return what stands for the layer that made a value, whatever number or tensor it was multiplied by since."""
    at: Node | None = node
    while at is not None:
        if at.maker is not None:
            return at.maker
        at = at.main if at.kind in {Kind.CARRY, Kind.SCALE} else None
    return None


def _is_data(end: Node) -> bool:
    """Say whether a value made from nothing is an input: passed to the model, or drawn at random where nothing else is."""
    return end.stream or end.operation in DRAWS


def _is_end(node: Node) -> bool:
    return node.maker is not None or not node.parents


def _behind(node: Node) -> tuple[Node, ...]:
    """Return the parents to continue with.

    The skip of a residual addition that comes from the addition before it is left to that addition: the branch started
    from it, too. Else a layer at the end of a stream would name every branch of it.
    """
    if node.kind is not Kind.RESIDUAL or node.main is None:
        return node.parents
    at: Node | None = node.main
    while at is not None and at.maker is None and at.kind in _PEELED:
        at = at.main
    if at is None or at.kind is not Kind.RESIDUAL or at.maker is not None:
        return node.parents
    return tuple(parent for parent in node.parents if parent is not node.main) or node.parents


def _united(nodes: Iterable[Node]) -> frozenset[Node]:
    found: frozenset[Node] = _NOTHING
    for node in nodes:
        ends = frozenset((node,)) if _is_end(node) else node.ends or _NOTHING
        found = ends if not found else found if ends <= found else found | ends
    telling = [end for end in found if end.maker is not None or end.stream]
    return frozenset(telling) if telling and len(telling) < len(found) else found
