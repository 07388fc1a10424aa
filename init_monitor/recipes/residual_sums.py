"""Residual additions for your own forward, which keep ``x + F(x)`` from doubling the variance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from init_monitor.errors import RecipeError
from init_monitor.recipes.choices import count

if TYPE_CHECKING:
    from torch import Tensor


def rescale_factors(block: int, blocks: int) -> tuple[float, float]:
    """Return RescaleNet's α_k and β_k for block k of L: ``α² + β² = 1``, and equal contribution of every block.

    Source: Shao et al. 2020, Eq. 6 and 14 with c = L.

    >>> alpha, beta = rescale_factors(1, 1)
    >>> round(alpha**2, 12), round(beta**2, 12)
    (0.5, 0.5)

    Raises:
        RecipeError: ``block`` and ``blocks`` are no whole numbers with 1 ≤ k ≤ L.
    """
    if block not in range(1, count("rescale_factors", "blocks", blocks) + 1):
        message = f"rescale_factors: block must be a whole number from 1 to blocks={blocks}, got {block}. The first block is 1."
        raise RecipeError(message)
    return math.sqrt((block - 1 + blocks) / (block + blocks)), 1.0 / math.sqrt(block + blocks)


def rescaled_sum(skip: Tensor, branch: Tensor, *, block: int, blocks: int) -> Tensor:
    """Add as RescaleNet does, in your own forward: ``α_k x + β_k F(x)``.

    Source: Shao et al. 2020, Eq. 6.

    Args:
        skip: x.
        branch: F(x).
        block: k, from 1.
        blocks: L.
    """
    alpha, beta = rescale_factors(block, blocks)
    total: Tensor = alpha * skip + beta * branch
    return total


def fixed_weight_sum(skip: Tensor, branch: Tensor, *, block: int, blocks: int) -> Tensor:
    """Add with a fixed residual weight: ``α_k x + F(x)/sqrt(L)``; :func:`rescale_residual_` draws the branches for it.

    Every branch then gets a gradient of one size; with :func:`rescaled_sum` the last one gets half of the first one's variance.
    Source: Shao et al. 2020, Appendix A.4, Eq. 16.
    """
    total: Tensor = rescale_factors(block, blocks)[0] * skip + branch * blocks**-0.5
    return total


def halved_sum(skip: Tensor, branch: Tensor) -> Tensor:
    """Add two terms of equal variance and keep it: ``(x + F(x))/sqrt(2)``.

    No choice of weights can do this for a plain ``x + F(x)``, since it scales x as well. Source: Prince 2023, "Understanding deep
    learning", Section 11.4.
    """
    total: Tensor = (skip + branch) * math.sqrt(0.5)
    return total
