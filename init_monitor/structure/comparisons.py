"""Outputs that a loss compares with each other, not with data: representations of two views, of two towers, of pairs in a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.structure.nodes import Kind, Node
from init_monitor.structure.operations import COMPARING, REGRESSING, Family
from init_monitor.structure.origins import ends_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.structure.operations import Operation

_FARTHEST = 32
"""Values looked at between a layer's output and the comparison."""

_MOVED = frozenset({Kind.CARRY, Kind.SLICE, Kind.SCALE, Kind.NORM, Kind.POOL})
_DIVIDES = frozenset({"div", "divide", "true_divide", "truediv"})


class Comparisons:
    """Notes in one forward which layers' outputs are compared with each other, and which of these with data after all.

    An attention compares queries with keys as well: whether an output is one of the network's is not known here.
    """

    def __init__(self) -> None:
        self._compared: set[object] = set()
        self._answers: set[object] = set()
        self._factors: dict[object, object] = {}
        self.products: dict[object, object] = {}
        """What stands for a layer whose output is multiplied with another's, element by element, for an answer to data: that other one."""

    def after(self, operation: Operation, inputs: Sequence[Node]) -> None:
        """Look at a call that may compare its first two tensors."""
        if len(inputs) < len(("this", "that")):
            return
        left, right = inputs[0], inputs[1]
        if operation.name in REGRESSING:
            self._against_data(left, right)
        if operation.name in COMPARING:
            self._with_each_other(operation, left, right)

    def makers(self) -> frozenset[object]:
        """Return what stands for the layers whose outputs are compared with each other, and their comparison with no data."""
        return frozenset(self._compared - self._answers)

    def _with_each_other(self, operation: Operation, left: Node, right: Node) -> None:
        one, other = _representation(left), _representation(right)
        if one is None or other is None or left is right:
            return
        elementwise = operation.family in {Family.MULTIPLIES, Family.SUBTRACTS}
        if elementwise and (left.size != right.size or left.size == 1):
            return  # less its own mean, times its own norm; a single number is a term of a loss
        self._compared.update((one, other))
        if operation.family is Family.MULTIPLIES and one is not other:
            self._factors[one] = other

    def _against_data(self, left: Node, right: Node) -> None:
        for answer, target in ((left, right), (right, left)):
            of = [end.maker for end in ends_of(target)]
            made = [end.maker for end in ends_of(answer)]
            if (
                any(maker is None for maker in of)
                and made
                and None not in made
                and any(e.stream for e in ends_of(target))
            ):
                self._answers.update(made)
                for one, other in (made, made[::-1]) if len(made) == len(("one", "other")) else ():
                    if self._factors.get(one) is other:
                        self.products[one] = other


def _representation(node: Node) -> object:
    """Return what stands for the layer whose output a value is, moved, pooled or normalised at most; ``None`` if it is of none."""
    at: Node | None = node
    for _ in range(_FARTHEST):
        if at is None or at.maker is not None:
            return None if at is None else at.maker
        if at.kind in _MOVED:
            at = at.main
        elif at.operation in _DIVIDES and len(at.parents) > 1 and len({end.maker for end in ends_of(at)}) == 1:
            at = at.parents[0]  # divided by its own norm
        else:
            return None
    return None
