"""Attention, wherever a forward computes it: fused, in torch's own module, or written out as product, softmax, product.

Written out, it is recognised by what it does: a softmax over what a product of two values of the network made (whatever
was scaled, masked and added between), whose output weighs another value in a product. A few rows of the first product are
kept aside, and those of what the softmax got: their difference is mask and bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from init_monitor.measures.attention import Looks
from init_monitor.structure.derivation import argument
from init_monitor.structure.fused_attention import looks_of_module_attention, looks_of_product_attention
from init_monitor.structure.nodes import Kind, Node
from init_monitor.structure.origins import origins_of
from init_monitor.structure.score_rows import Choice, Scores, choice_for, heads_first, scores_of
from init_monitor.torch_compat import unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from init_monitor.structure.operations import Operation

FUSED, IN_MODULE, SOFTMAX = "scaled_dot_product_attention", "multi_head_attention_forward", "softmax"

_FARTHEST = 32
"""Values looked at between a product and the softmax of it, and between a softmax and the product that weighs by it."""

_MASKED = -5000.0
"""A score at or below is a mask where what was added cannot be told from it: masks are -10,000, the smallest number of the
format, or -inf."""

_MOVED = frozenset({Kind.CARRY, Kind.SLICE, Kind.SCALE, Kind.BIAS})
_MERGED = frozenset({Kind.JOIN, Kind.RESIDUAL})
_BENT = frozenset({Kind.ACTIVATION, Kind.NORM})


@dataclass(frozen=True, slots=True)
class AttentionSite:
    """One attention of the forward that was probed.

    Attributes:
        name: path of the module whose forward computed it, ``#k`` for the k-th of several there, ``@c`` in its c-th call.
        owner: that path; empty for the model itself.
        heads: how many there are; 1 where they cannot be told from the batch.
        head_dim: elements of a query of one head.
        function: ``scaled_dot_product_attention``, ``multi_head_attention_forward``, or ``softmax`` where it is written out.
        makers: what stands for the layers that made its queries and keys.
    """

    name: str
    owner: str
    heads: int
    head_dim: int
    function: str
    makers: tuple[object, ...]


class AttentionListener(Protocol):
    """Whom to tell of attention."""

    def is_watched(self) -> bool:
        """Say whether it is wanted now."""

    def take(self, site: AttentionSite, looks: Looks) -> None:
        """Measure a few rows of one."""

    def failed(self, error: Exception) -> None:
        """Hear that looking for it failed; it is not looked for any more."""


class _Product(NamedTuple):
    """A product that may be the scores of an attention.

    Attributes:
        rows: of it, chosen; its own copy.
        shape: of all of it.
        scores, choice: which dimensions are what, and which rows were chosen.
        makers, head_dim: as in the site.
    """

    rows: Tensor
    shape: torch.Size
    scores: Scores
    choice: Choice
    makers: tuple[object, ...]
    head_dim: int


class _Behind(NamedTuple):
    """A product behind a value.

    Attributes:
        product: it.
        factor: what it was multiplied by since; ``None`` if by a tensor.
        bent: something nonlinear, or another product, came in between.
    """

    product: _Product
    factor: float | None
    bent: bool


class Attentions:
    """Looks for attention in one forward.

    Args:
        tell: whom.
        node_of: the node of a tensor.
    """

    def __init__(self, tell: AttentionListener, node_of: Callable[[Tensor], Node]) -> None:
        self._tell = tell
        self._node_of = node_of
        self._products: dict[Node, _Product] = {}
        self._softmaxes: dict[Node, tuple[_Product, Looks]] = {}
        self._off = False

    def after(
        self,
        operation: Operation,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        output: Tensor,
        name: Callable[[], tuple[str, str]],
    ) -> None:
        """Look at a call of a function that may have to do with attention.

        Args:
            operation: what it does.
            args: its arguments.
            kwargs: those by name.
            output: what it made.
            name: gives the name of an attention that is computed now, and its owner's path.
        """
        try:
            if self._off or not self._tell.is_watched():
                return
            with unseen():
                if operation.name == SOFTMAX:
                    self._softmax(args, kwargs, output)
                elif operation.name in {FUSED, IN_MODULE}:
                    self._fused(operation.name, args, kwargs, name)
                else:
                    self._product(operation.name, args, kwargs, output, name)
        except Exception as error:  # noqa: BLE001 - must not reach the user's forward, nor end the probe
            self._off = True
            self._tell.failed(error)

    def _fused(
        self,
        function: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        name: Callable[[], tuple[str, str]],
    ) -> None:
        query, key = argument(args, kwargs, 0, "query"), argument(args, kwargs, 1, "key")
        looks = (looks_of_product_attention if function == FUSED else looks_of_module_attention)(args, kwargs)
        if looks is None or not isinstance(query, Tensor) or not isinstance(key, Tensor):
            return
        heads = looks.logits.shape[0]
        size = query.shape[-1] if function == FUSED else query.shape[-1] // heads
        own, owner = name()
        # The weights that make the queries of torch's module are its own: the layer to name is the module.
        makers = self._makers(query, key) if function == FUSED else ()
        self._tell.take(AttentionSite(own, owner, heads, size, function, makers), looks)

    def _product(
        self,
        function: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        output: Tensor,
        name: Callable[[], tuple[str, str]],
    ) -> None:
        operands = _operands(function, args)
        if operands is None or not output.is_floating_point() or output.dim() < 2:  # noqa: PLR2004 - rows and keys
            return
        for node in map(self._node_of, operands):
            weights = self._weights_behind(node)
            if weights is not None:
                product, looks = self._softmaxes.pop(weights)
                own, owner = name()
                heads = looks.logits.shape[0]
                self._tell.take(AttentionSite(own, owner, heads, product.head_dim, SOFTMAX, product.makers), looks)
                return
        node = self._node_of(output)
        if node.kind is not Kind.PRODUCT or not output.numel():
            return
        scores, size = _scores(function, args, operands, output)
        choice = choice_for(output.shape, scores)
        cut = choice.of(output.shape, scores)
        rows = _wide(output[cut])
        beta, added = kwargs.get("beta", 1), args[0]
        if function == "baddbmm" and isinstance(added, Tensor) and isinstance(beta, (int, float)) and beta:
            rows -= _wide(added.expand_as(output)[cut]) * beta
        self._products[node] = _Product(rows, output.shape, scores, choice, self._makers(*operands), size)

    def _softmax(self, args: Sequence[object], kwargs: Mapping[str, object], output: Tensor) -> None:
        given, dim = argument(args, kwargs, 0, "input"), argument(args, kwargs, 1, "dim")
        if not self._products or not isinstance(given, Tensor) or not isinstance(dim, int) or not given.dim():
            return
        behind = self._scores_behind(self._node_of(given))
        if behind is not None:
            self._softmaxes[self._node_of(output)] = behind.product, _looks(behind, given, dim % given.dim())

    def _makers(self, *tensors: Tensor) -> tuple[object, ...]:
        found = [maker for one in tensors for maker in origins_of([self._node_of(one)]).makers]
        return tuple(dict.fromkeys(found))

    def _scores_behind(self, node: Node) -> _Behind | None:
        """Return the product that scores were made from by scaling, masking and adding, if there is one."""
        waiting: list[tuple[Node, float | None, bool]] = [(node, 1.0, False)]
        found: dict[Node, _Behind] = {}
        for _ in range(_FARTHEST):
            if not waiting:
                break
            at, factor, bent = waiting.pop()
            if at in self._products:
                found.setdefault(at, _Behind(self._products[at], factor, bent))
            elif at.kind in _MOVED and at.main is not None:
                scale = at.factor if at.kind is Kind.SCALE else 1.0
                waiting.append((at.main, None if factor is None or scale is None else factor * scale, bent))
            elif at.kind in _BENT:
                waiting += [(parent, factor, True) for parent in at.parents]
            elif at.kind in _MERGED:
                waiting += [(parent, factor, bent) for parent in at.parents]
        if not found:
            return None
        first = next(iter(found.values()))
        return first if len(found) == 1 else first._replace(bent=True)

    def _weights_behind(self, node: Node) -> Node | None:
        """Return the softmax whose output a value is, moved, dropped out or scaled at most."""
        at: Node | None = node if self._softmaxes else None
        for _ in range(_FARTHEST):
            if at is None or at in self._softmaxes:
                return at
            at = at.main if at.kind in _MOVED else None
        return None


def _looks(behind: _Behind, given: Tensor, dim: int) -> Looks:
    """Return the rows of an attention that is written out, from its product and from what the softmax gets."""
    product, whole = behind.product, given
    if given.shape != product.shape and given.numel() == product.shape.numel() and given.is_contiguous():
        whole = given.view(product.shape)
    same = whole.shape == product.shape and (dim - given.dim() == product.scores.key - len(product.shape))
    if not same or behind.bent:
        return _looks_at_sums(given, dim, product.scores)
    rows, got = product.rows, _wide(whole[product.choice.of(whole.shape, product.scores)])
    rows = rows * (_factor(rows, got, product.scores) if behind.factor is None else behind.factor)
    return Looks(heads_first(rows, product.scores), heads_first(got - rows, product.scores))


def _looks_at_sums(given: Tensor, dim: int, known: Scores) -> Looks:
    """Return rows of scores whose parts cannot be told apart."""
    scores = known if given.dim() > known.query and dim == known.key else scores_of(given.dim())
    if dim != scores.key:
        scores = scores._replace(query=scores.key if dim == scores.query else scores.query, key=dim)
        if scores.head == dim:
            scores = scores._replace(head=None)
    rows = heads_first(_wide(given[choice_for(given.shape, scores).of(given.shape, scores)]), scores)
    return Looks(rows, torch.zeros_like(rows).masked_fill_(rows <= _MASKED, -torch.inf))


def _factor(rows: Tensor, got: Tensor, scores: Scores) -> Tensor:
    """Return what each head's scores were multiplied by, where a tensor says it: by least squares over what is not masked."""
    seen = (got > _MASKED) & rows.isfinite()
    own, then = rows.masked_fill(~seen, 0.0), got.masked_fill(~seen, 0.0)
    over = [dim for dim in range(rows.dim()) if dim != scores.head]
    return (own * then).sum(over, keepdim=True) / (own * own).sum(over, keepdim=True)


def _wide(x: Tensor) -> Tensor:
    """Return a copy in the format that is computed in."""
    return x.to(torch.float64 if x.dtype == torch.float64 else torch.float32, copy=True)


def _operands(function: str, args: Sequence[object]) -> tuple[Tensor, Tensor] | None:
    """Return the two factors of a product."""
    given = list(args[1:] if function in {"einsum", "baddbmm"} else args)
    if function == "einsum" and len(given) == 1 and isinstance(given[0], (list, tuple)):
        given = list(given[0])
    pair = given[:2]
    if len(given) < 2 or (function == "einsum" and len(given) > 2):  # noqa: PLR2004 - two factors
        return None
    left, right = pair
    return (left, right) if isinstance(left, Tensor) and isinstance(right, Tensor) else None


def _scores(
    function: str, args: Sequence[object], operands: tuple[Tensor, Tensor], output: Tensor
) -> tuple[Scores, int]:
    """Return what the dimensions of a product are, and over how many elements it sums."""
    usual, size = scores_of(output.dim()), operands[0].shape[-1]
    if function != "einsum" or not isinstance(args[0], str):
        return usual, size
    inputs, _, made = args[0].replace(" ", "").partition("->")
    left, _, right = inputs.partition(",")
    summed = [operands[0].shape[i] for i, one in enumerate(left) if one not in made] if "." not in left else []
    size = math.prod(summed) if summed else size
    if "." in made or len(made) != output.dim():
        return usual, size
    own = [i for i, one in enumerate(made) if (one in left) != (one in right)]
    shared = [i for i, one in enumerate(made) if one in left and one in right]
    if len(own) < 2:  # noqa: PLR2004 - queries and keys
        return usual, size
    return Scores(shared[-1] if len(shared) > 1 else None, own[-2], own[-1]), size
