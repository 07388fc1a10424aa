"""What a sum that is about to run does to a residual stream: it adds a branch to a skip, or the same skip once more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from init_monitor.structure.derivation import shares
from init_monitor.structure.nodes import Kind, Node
from init_monitor.structure.residual import ResidualForm, judge
from init_monitor.structure.sums import Sum, find_sum
from init_monitor.torch_compat import unseen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from init_monitor.structure.nodes import Frame
    from init_monitor.structure.operations import Operation
    from init_monitor.structure.provenance import Provenance


@dataclass(slots=True)
class Addition:
    """A sum on a residual stream that is about to run, with its terms as they are before it.

    Attributes:
        sum: its terms.
        form: what residual addition it is; ``None`` if it adds a skip once more.
        terms: the tensors, where they are to be measured.
        again: the term that holds the other one already, where it adds a skip once more.
    """

    sum: Sum
    form: ResidualForm | None
    terms: tuple[Tensor, Tensor] | None = None
    again: Node | None = None


def addition_in(  # noqa: PLR0913 - a call, and where it is made
    graph: Provenance,
    frame: Frame,
    operation: Operation,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    *,
    measured: bool,
) -> Addition | None:
    """Return what a call adds to a residual stream, ``None`` if nothing.

    Args:
        graph: the values so far.
        frame: the module call that adds.
        operation: the function.
        args: what it is called with, by position.
        kwargs: the same by name.
        measured: the terms are wanted as well.
    """
    found = find_sum(graph, frame, operation, args, kwargs)
    if found is None:
        return None
    form = judge(found.left.node, found.right.node, frame, subtracts=found.subtracts)
    if form is None:
        again = None if found.subtracts else holding(found.left.node, found.right.node)
        return None if again is None else Addition(found, None, again=again)
    if not measured:
        return Addition(found, form)
    if found.plain and not operation.mutates and not kwargs:
        return Addition(found, form, (found.left.read(), found.right.read()))  # the tensors as they are
    with unseen():
        terms = [found.left.read(), found.right.read()]
        if operation.mutates or "out" in kwargs:
            written = kwargs.get("out", args[0] if args else None)
            terms = [term.clone() if shares(term, written) else term for term in terms]
    return Addition(found, form, (terms[0], terms[1]))


def holding(left: Node, right: Node) -> Node | None:
    """Return the one of two terms that is a residual sum over the other: ``x + (x + F(x))``; ``None`` if neither is.

    The other may be the skip of the last addition or of one before it. With a factor below 0 it is taken away again, and with a
    tensor for one it may be: neither adds it once more.
    """
    for total, skip in ((left, right), (right, left)):
        value = skip
        while value.main is not None and _is_multiple(value):
            value = value.main
        if value.kind is Kind.SCALE and value.factor is not None:
            continue  # below 0
        if _holds(total, value):
            return total
    return None


def _is_multiple(node: Node) -> bool:
    """Say whether a node moves a value, or multiplies it by a number above 0."""
    return node.kind is Kind.CARRY or (node.kind is Kind.SCALE and node.factor is not None and node.factor > 0)


def _is_sum(node: Node) -> bool:
    """Say whether a node is a sum on the stream: of a skip and a branch, or one that adds a skip once more."""
    again = node.kind is Kind.SCALE and sum(parent.stream for parent in node.parents) > 1
    return again or node.kind is Kind.RESIDUAL


def _holds(total: Node, value: Node) -> bool:
    """Say whether a value comes back from a residual sum through skips alone."""
    at: Node | None = total
    added = False
    while at is not None and at.index >= value.index:
        if at is value:
            return added
        added = added or at.kind is Kind.RESIDUAL
        if not (_is_multiple(at) or _is_sum(at)):
            return False
        at = at.main
    return False
