"""Heads that are folded into the batch, ``[batch · heads, length, size]``, told by the reshaping that folded them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FARTHEST = 8
"""Operations looked at behind a query."""

_FOLDED = 3
"""Dimensions of a query whose heads are part of the batch."""

_RESHAPES = ("View", "UnsafeView", "ReshapeAlias")
_CARRIES = (*_RESHAPES, "Transpose", "Permute", "Clone", "Mul", "Div", "ToCopy", "Unsqueeze", "Squeeze", "Expand")
"""Beginnings of names of autograd's nodes that keep all elements of a tensor."""


def folded_heads(query: Tensor, batches: int, size: int) -> int:
    """Return how many heads are folded into the first dimension of a query; 1 if none are, or it cannot be told.

    >>> import torch
    >>> q = torch.nn.Linear(12, 12)(torch.zeros(2, 5, 12)).view(2, 5, 3, 4)
    >>> folded_heads(q.transpose(1, 2).reshape(6, 5, 4), 6, 4)
    3

    Args:
        query: a factor of the scores; what autograd has noted of it is read.
        batches: its first dimension.
        size: elements of one query.
    """
    node = query.grad_fn
    for _ in range(_FARTHEST):
        if node is None:
            return 1
        kind = node.name().partition("Backward")[0]
        if kind in _RESHAPES:
            heads = _heads_before(getattr(node, "_saved_self_sym_sizes", ()), batches, size)
            if heads:
                return heads
        before = [one for one, _ in node.next_functions if one is not None]
        node = before[0] if len(before) == 1 and kind in _CARRIES else None
    return 1


def unfolded(args: Sequence[object], kwargs: Mapping[str, object]) -> tuple[Sequence[object], Mapping[str, object]]:
    """Return what a fused attention was called with, its heads in a dimension of their own where they were folded into the batch."""
    query = args[0] if args else kwargs.get("query")
    if not isinstance(query, Tensor) or query.dim() != _FOLDED:
        return args, kwargs
    batches = query.shape[0]
    heads = folded_heads(query, batches, query.shape[-1])
    if heads == 1:
        return args, kwargs

    def own(one: object) -> object:
        folded = isinstance(one, Tensor) and one.dim() == _FOLDED and one.shape[0] == batches
        return one.unflatten(0, (-1, heads)) if folded and isinstance(one, Tensor) else one

    return [own(one) for one in args], {name: own(one) for name, one in kwargs.items()}


def _heads_before(shape: Sequence[int], batches: int, size: int) -> int:
    """Return the heads that a shape says, 0 if it says none: ``[B, H, L, D]``, or ``[L, B, H·D]``, ``[B, H·D, L]``."""
    if len(shape) == _FOLDED + 1 and shape[0] * shape[1] == batches and shape[1] > 1:
        return int(shape[1])
    if len(shape) == _FOLDED:
        for place, channels in enumerate(shape):
            heads, rest = divmod(int(channels), size)
            others = (int(one) for other, one in enumerate(shape) if other != place)
            if heads > 1 and not rest and any(other * heads == batches for other in others):
                return heads
    return 0
