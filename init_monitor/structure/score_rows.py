"""Which rows of an attention are looked at: a fixed choice, a few of them, spread over the batch and the positions.

They are views with steps, so that nothing is sent to the device and no random number is drawn.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

MOST_LOGITS = 1 << 18
"""Logits of one attention that are looked at, of all heads together: 1 MB."""

MOST_ROWS, LEAST_ROWS = 64, 8
"""Rows of each head: a share of them is known to a few per cent. Where the keys are very many, fewer."""

MOST_ITEMS = 4
"""Samples of the batch that they are taken from; more where a sample has few queries."""

_GRID = frozenset({2, 3, 7})
"""Primes that divide the widths of the grids that images are cut into: a step of 7 over 14 columns sees two of them."""


_HEADED = 4
"""Dimensions from which on the third last counts the heads."""


class Scores(NamedTuple):
    """Which dimensions of a tensor of attention scores are what; every other one belongs to the batch."""

    head: int | None
    query: int
    key: int


class Choice(NamedTuple):
    """The rows that are looked at.

    Attributes:
        batch: steps along each dimension of the batch.
        first, step: the queries.
    """

    batch: tuple[int, ...]
    first: int
    step: int

    def of(self, shape: Sequence[int], scores: Scores) -> tuple[slice, ...]:
        """Return the slices of a tensor that has the dimensions of the scores."""
        steps = iter(self.batch)
        slices = []
        for dim in range(len(shape)):
            if dim == scores.query:
                slices.append(slice(self.first, None, self.step))
            elif dim in {scores.head, scores.key}:
                slices.append(slice(None))
            else:
                slices.append(slice(None, None, next(steps)))
        return tuple(slices)


@lru_cache(maxsize=1024)
def choice_of(batch: tuple[int, ...], heads: int, queries: int, keys: int) -> Choice:
    """Choose the rows of an attention. The last query is among them: where a mask is causal, it sees all.

    >>> choice_of((64,), heads=12, queries=197, keys=197)
    Choice(batch=(16,), first=1, step=13)
    """
    rows = min(MOST_ROWS, max(LEAST_ROWS, MOST_LOGITS // max(1, heads * keys)))
    left, steps = max(MOST_ITEMS, -(-rows // max(1, queries))), []
    for size in reversed(batch):
        taken = max(1, min(size, left))
        left //= taken
        steps.append(-(-size // taken) or 1)
    items = math.prod(-(-size // step) for size, step in zip(reversed(batch), steps, strict=True)) or 1
    step = _step(queries, max(1, rows // items))
    return Choice(tuple(reversed(steps)), (queries - 1) % step if queries else 0, step)


def choice_for(shape: Sequence[int], scores: Scores) -> Choice:
    """Choose the rows of scores of that shape."""
    batch = tuple(size for dim, size in enumerate(shape) if dim not in {scores.head, scores.query, scores.key})
    heads = 1 if scores.head is None else shape[scores.head]
    return choice_of(batch, heads, shape[scores.query], shape[scores.key])


def scores_of(dims: int) -> Scores:
    """Return what the dimensions of scores are where nobody says so: ``[..., H, L, S]``; ``[..., L, S]`` with fewer than four."""
    return Scores(dims - 3 if dims >= _HEADED else None, dims - 2, dims - 1)


def heads_first(x: Tensor, scores: Scores) -> Tensor:
    """Return chosen scores as ``[heads, rows, keys]``, from however their dimensions are ordered."""
    if scores.head is None:
        x = x.movedim((scores.query, scores.key), (-2, -1)).unsqueeze(0)
    else:
        x = x.movedim((scores.head, scores.query, scores.key), (0, -2, -1))
    return x.reshape(x.shape[0], -1, x.shape[-1])


def _step(size: int, rows: int) -> int:
    """Return a prime step that leaves about so many; 1 if there are no more."""
    wanted = -(-size // rows)
    if wanted <= 1:
        return 1
    while wanted in _GRID or any(wanted % d == 0 for d in range(2, math.isqrt(wanted) + 1)):
        wanted += 1
    return wanted
