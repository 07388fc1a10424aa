"""Attention that is written out: what its products are, and a few rows of its scores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from init_monitor.measures.attention import Looks
from init_monitor.structure.score_rows import Choice, Scores, choice_for, heads_first, scores_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FACTORS = ("batch1", "other", "mat2", "batch2")
"""Names that products give their factors, where they are passed by name."""

_MASKED = -5000.0
"""A score at or below is a mask where what was added cannot be told from it: masks are -10,000, the smallest number of the
format, or -inf."""


class Way(NamedTuple):
    """How queries and keys were made from what layers made.

    Attributes:
        makers: of those layers.
        factor: what they were multiplied by since; NaN if by a tensor.
        normalised: the queries were normalised.
    """

    makers: tuple[object, ...]
    factor: float
    normalised: bool


class Product(NamedTuple):
    """A product that may be the scores of an attention.

    Attributes:
        rows: of it, chosen; its own copy.
        shape: of all of it.
        scores, choice: which dimensions are what, and which rows were chosen.
        way: how its factors were made.
        head_dim: over how many elements it sums.
    """

    rows: Tensor
    shape: torch.Size
    scores: Scores
    choice: Choice
    way: Way
    head_dim: int


class Behind(NamedTuple):
    """A product behind a value.

    Attributes:
        product: it.
        factor: what it was multiplied by since; ``None`` if by a tensor.
        bent: something nonlinear, or another product, came in between.
    """

    product: Product
    factor: float | None
    bent: bool


def looks_of_product(behind: Behind, given: Tensor, dim: int) -> Looks:
    """Return the rows of an attention that is written out, from its product and from what the softmax gets."""
    product, whole = behind.product, given
    if given.shape != product.shape and given.numel() == product.shape.numel() and given.is_contiguous():
        whole = given.view(product.shape)
    same = whole.shape == product.shape and (dim - given.dim() == product.scores.key - len(product.shape))
    if not same or behind.bent:
        return _looks_at_sums(given, dim, product.scores)
    rows, got = product.rows, wide(whole[product.choice.of(whole.shape, product.scores)])
    rows = rows * (_factor(rows, got, product.scores) if behind.factor is None else behind.factor)
    return Looks(heads_first(rows, product.scores), heads_first(got - rows, product.scores))


def _looks_at_sums(given: Tensor, dim: int, known: Scores) -> Looks:
    """Return rows of scores whose parts cannot be told apart."""
    scores = known if given.dim() > known.query and dim == known.key else scores_of(given.dim())
    if dim != scores.key:
        scores = scores._replace(query=scores.key if dim == scores.query else scores.query, key=dim)
        if scores.head == dim:
            scores = scores._replace(head=None)
    rows = heads_first(wide(given[choice_for(given.shape, scores).of(given.shape, scores)]), scores)
    return Looks(rows, torch.zeros_like(rows).masked_fill_(rows <= _MASKED, -torch.inf))


def _factor(rows: Tensor, got: Tensor, scores: Scores) -> Tensor:
    """Return what each head's scores were multiplied by, where a tensor says it: by least squares over what is not masked."""
    seen = (got > _MASKED) & rows.isfinite()
    own, then = rows.masked_fill(~seen, 0.0), got.masked_fill(~seen, 0.0)
    over = [dim for dim in range(rows.dim()) if dim != scores.head]
    return (own * then).sum(over, keepdim=True) / (own * own).sum(over, keepdim=True)


def wide(x: Tensor) -> Tensor:
    """Return a copy in the format that is computed in."""
    return x.to(torch.float64 if x.dtype == torch.float64 else torch.float32, copy=True)


def operands_of(function: str, args: Sequence[object], kwargs: Mapping[str, object]) -> tuple[Tensor, Tensor] | None:
    """Return the two factors of a product."""
    given = [*args[function in {"einsum", "baddbmm"} :], *(kwargs[name] for name in _FACTORS if name in kwargs)]
    if function == "einsum" and len(given) == 1 and isinstance(given[0], (list, tuple)):
        given = list(given[0])
    pair = given[:2]
    if len(given) < 2 or (function == "einsum" and len(given) > 2):  # noqa: PLR2004 - two factors
        return None
    left, right = pair
    return (left, right) if isinstance(left, Tensor) and isinstance(right, Tensor) else None


def scores_made(
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
