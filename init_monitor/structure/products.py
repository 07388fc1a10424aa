"""Products in the place of residual sums: ``x * F(x)``, where F is a layer's work on x and may have any size.

A gate is none: what passes a sigmoid, a tanh or a softmax is between -1 and 1, and 1 + F(x) begins near 1.
"""

from __future__ import annotations

from init_monitor.structure.meeting import meet
from init_monitor.structure.nodes import Frame, Kind, Node
from init_monitor.structure.operations import Family, Operation

_MOVED = frozenset({Kind.CARRY, Kind.SCALE})
_BOUNDED = frozenset(
    {"sigmoid", "hardsigmoid", "tanh", "hardtanh", "softsign", "expit", "softmax", "clamp", "clip", "relu6"}
)
_SHIFTING = frozenset({"add", "radd", "iadd", "sub", "subtract", "rsub", "isub"})


def count_product(operation: Operation, inputs: list[Node], product: Node, owner: Frame) -> None:
    """Note in a value that was just made whether it is the product of a value and a layer's work on it.

    Args:
        operation: the function that made it.
        inputs: what it was made from.
        product: its node.
        owner: the module call that multiplied.
    """
    if operation.family is not Family.MULTIPLIES or product.kind is not Kind.OTHER or len(inputs) != len((0, 1)):
        return
    left, right = inputs
    if left.size != right.size or "div" in operation.name:
        return
    for skip, branch in ((left, right), (right, left)):
        if _is_bounded(branch) or _is_bounded(skip):
            return
        meeting = meet(skip, branch, owner, projection=False)
        if meeting is not None and meeting.start.node.stream and not meeting.start.sliced:
            product.products = products_in(skip) + 1
            return


def products_in(node: Node) -> int:
    """Return how many products lie in a row up to a value, with nothing else on the way of ``x``."""
    at: Node | None = node
    while at is not None and not at.products:
        if at.kind not in _MOVED or at.maker is not None:
            return 0
        at = at.main
    return 0 if at is None else at.products


def _is_bounded(term: Node) -> bool:
    """Say whether a factor is a gate, or begins near 1."""
    at: Node | None = term
    while at is not None:
        if at.operation in _BOUNDED or (at.operation in _SHIFTING and at.kind is Kind.CARRY):
            return True
        if at.kind not in _MOVED:
            return False
        at = at.main
    return False
