"""Attention, wherever a forward computes it: fused, in torch's own module, or written out as product, softmax, product.

Written out, it is recognised by what it does: a softmax over what a product of two values of the network made (whatever
was scaled, masked and added between), whose output weighs another value in a product. A few rows of the first product are
kept aside, and those of what the softmax got: their difference is mask and bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from init_monitor.structure.derivation import argument
from init_monitor.structure.folded_heads import folded_heads, unfolded
from init_monitor.structure.fused_attention import looks_of_module_attention, looks_of_product_attention
from init_monitor.structure.nodes import Kind, Node
from init_monitor.structure.origins import origins_of
from init_monitor.structure.score_rows import choice_for, scores_of
from init_monitor.structure.written_attention import (
    Behind,
    Product,
    Way,
    looks_of_product,
    operands_of,
    scores_made,
    wide,
)
from init_monitor.torch_compat import unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from init_monitor.measures.attention import Looks
    from init_monitor.structure.operations import Operation

FUSED, IN_MODULE, SOFTMAX = "scaled_dot_product_attention", "multi_head_attention_forward", "softmax"

_FARTHEST = 32
"""Values looked at between a product and the softmax of it, and between a softmax and the product that weighs by it."""

_FOLDED = 3
"""Dimensions of scores whose heads are part of the batch."""

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
        scale: what q·k is multiplied by; NaN if not known.
        normalised: its queries were normalised.
    """

    name: str
    owner: str
    heads: int
    head_dim: int
    function: str
    makers: tuple[object, ...]
    scale: float
    normalised: bool


class AttentionListener(Protocol):
    """Whom to tell of attention."""

    def is_watched(self) -> bool:
        """Say whether it is wanted now."""

    def take(self, site: AttentionSite, looks: Looks) -> None:
        """Measure a few rows of one."""

    def failed(self, error: Exception) -> None:
        """Hear that looking for it failed; it is not looked for any more."""


class Attentions:
    """Looks for attention in one forward.

    Args:
        tell: whom.
        node_of: the node of a tensor.
    """

    def __init__(self, tell: AttentionListener, node_of: Callable[[Tensor], Node]) -> None:
        self._tell = tell
        self._node_of = node_of
        self._products: dict[Node, Product] = {}
        self._softmaxes: dict[Node, tuple[Product, float, Looks]] = {}
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
        if function == FUSED:
            args, kwargs = unfolded(args, kwargs)
        query, key = argument(args, kwargs, 0, "query"), argument(args, kwargs, 1, "key")
        looks = (looks_of_product_attention if function == FUSED else looks_of_module_attention)(args, kwargs)
        if looks is None or not isinstance(query, Tensor) or not isinstance(key, Tensor):
            return
        heads = looks.logits.shape[0]
        size = query.shape[-1] if function == FUSED else query.shape[-1] // heads
        own, owner = name()
        way, scale = self._way(query, key), 1 / math.sqrt(max(1, size))
        if function == IN_MODULE:
            # The weights that make its queries are its own: the layer to name is the module.
            way = Way((), 1.0, normalised=False)
        elif isinstance(given := kwargs.get("scale"), (int, float)):
            scale = float(given)
        site = AttentionSite(own, owner, heads, size, function, way.makers, scale * way.factor, way.normalised)
        self._tell.take(site, looks)

    def _product(
        self,
        function: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        output: Tensor,
        name: Callable[[], tuple[str, str]],
    ) -> None:
        operands = operands_of(function, args, kwargs)
        if operands is None or not output.is_floating_point() or output.dim() < 2:  # noqa: PLR2004 - rows and keys
            return
        for node in map(self._node_of, operands):
            weights = self._weights_behind(node)
            if weights is not None:
                product, scale, looks = self._softmaxes.pop(weights)
                own, owner = name()
                heads, way = looks.logits.shape[0], product.way
                scale *= way.factor
                site = AttentionSite(
                    own, owner, heads, product.head_dim, SOFTMAX, way.makers, scale, normalised=way.normalised
                )
                self._tell.take(site, looks)
                return
        node = self._node_of(output)
        if node.kind is not Kind.PRODUCT or not output.numel():
            return
        scores, size = scores_made(function, args, operands, output)
        given, added = kwargs.get("beta", 1), argument(args, kwargs, 0, "input")
        beta = float(given) if isinstance(given, (int, float)) else 0.0
        plus = added.expand_as(output) if function == "baddbmm" and isinstance(added, Tensor) and beta else None
        if scores == scores_of(_FOLDED) and (heads := folded_heads(operands[0], output.shape[0], size)) > 1:
            output, scores = output.unflatten(0, (-1, heads)), scores_of(_FOLDED + 1)
            plus = None if plus is None else plus.unflatten(0, (-1, heads))
        choice = choice_for(output.shape, scores)
        cut = choice.of(output.shape, scores)
        rows = wide(output[cut])
        if plus is not None:
            rows -= wide(plus[cut]) * beta
        self._products[node] = Product(rows, output.shape, scores, choice, self._way(*operands), size)

    def _softmax(self, args: Sequence[object], kwargs: Mapping[str, object], output: Tensor) -> None:
        given, dim = argument(args, kwargs, 0, "input"), argument(args, kwargs, 1, "dim")
        if not self._products or not isinstance(given, Tensor) or not isinstance(dim, int) or not given.dim():
            return
        behind = self._scores_behind(self._node_of(given))
        if behind is not None:
            scale = math.nan if behind.factor is None else behind.factor
            self._softmaxes[self._node_of(output)] = (
                behind.product,
                scale,
                looks_of_product(behind, given, dim % given.dim()),
            )

    def _way(self, query: Tensor, key: Tensor) -> Way:
        nodes = self._node_of(query), self._node_of(key)
        found = [maker for node in nodes for maker in origins_of([node]).makers]
        (factor, normalised), (other, _) = map(_since_made, nodes)
        return Way(tuple(dict.fromkeys(found)), factor * other, normalised)

    def _scores_behind(self, node: Node) -> Behind | None:
        """Return the product that scores were made from by scaling, masking and adding, if there is one."""
        waiting: list[tuple[Node, float | None, bool]] = [(node, 1.0, False)]
        found: dict[Node, Behind] = {}
        for _ in range(_FARTHEST):
            if not waiting:
                break
            at, factor, bent = waiting.pop()
            if at in self._products:
                found.setdefault(at, Behind(self._products[at], factor, bent))
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


def _since_made(node: Node) -> tuple[float, bool]:
    """Return what a value was multiplied by since a layer made it, and whether it was normalised. A rotation is no factor."""
    at: Node | None = node
    factor, turned = 1.0, False
    for _ in range(_FARTHEST):
        if at is None or at.kind is Kind.NORM:
            return factor, at is not None
        if at.kind is Kind.SCALE and not turned:
            factor *= math.nan if at.factor is None else at.factor
        turned = turned or at.kind is Kind.JOIN
        at = None if at.maker is not None else at.main or next(iter(at.parents if at.kind is Kind.JOIN else ()), None)
    return factor, False
