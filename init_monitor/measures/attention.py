"""What the heads of an attention do, from a few of its rows: how large its logits are, and how sharply it looks.

A *row* is one query: its logits against all keys, and the distribution that softmax makes of them. All of it is computed
on the tensors' own device, without a wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from init_monitor.measures.partials import COUNT, HIGH, LOW, M2, MEAN, NONFINITE, WIDTH, wide_dtype

if TYPE_CHECKING:
    from torch import Tensor

SQUARES, ENTROPY, ONE_PLACE, FIRST, KEYS = range(5)
KINDS = 5
"""What :func:`attention_partials` gives of each head."""

HIDES = -87.0
"""A key whose bias is this far below the largest of its row is hidden: its weight is below the smallest normal float32, e^-87.3."""

ONE_PLACE_FROM = 0.9
"""Weight of one key from which a row looks at one place: all others together have less than a tenth, and the derivative
p(1 - p) of its weight is a third of what it can be."""

FIRST_FROM = 0.5
"""Weight of the first key from which a row looks there: more than at all others together."""

_ALONE = 2
"""Keys a row has to see to have a choice."""


_UNSEEN = -1e30
"""Logit of a key that is not seen: its weight is 0, and 0 times it is still a number."""


class Looks(NamedTuple):
    """A few rows of an attention.

    Attributes:
        logits: ``[H, N, S]``, q·k times the scale, before any mask or bias; float32 or float64.
        added: ``[H or 1, N, S]``, what is added to them: a bias, and -inf for a key that the row may not see; ``None`` if nothing is.
    """

    logits: Tensor
    added: Tensor | None = None


def attention_partials(logits: Tensor, added: Tensor | None = None) -> Tensor:
    """Return partial rows ``[G, KINDS, H, WIDTH]`` of the heads of ``G`` attentions.

    Of a head: the squares of its visible logits, whose mean is theirs and whose largest is the largest magnitude itself; the
    entropy of its rows over ln T, where T is how many keys a row sees; 1 for a row with more than :data:`ONE_PLACE_FROM` on one key;
    1 for a row with more than :data:`FIRST_FROM` on the first key; T. A row that sees fewer than two keys has no choice, and
    counts for its logits only; one with a logit that is not finite is left out.

    Args:
        logits: ``[G, H, N, S]``, see :class:`Looks`.
        added: ``[G, H or 1, N, S]``, likewise.
    """
    if added is None:
        visible, total = logits, logits
        keys = torch.full((), logits.shape[-1], dtype=logits.dtype, device=logits.device)
    else:
        # A row that sees nothing has -inf as its largest, which is not above itself.
        seen = added > added.amax(-1, keepdim=True) + HIDES
        keys = seen.to(logits.dtype).sum(-1)
        visible = torch.where(seen, logits, 0.0)
        total = torch.where(seen, logits + added, _UNSEEN)
    low, high = visible.aminmax(dim=-1)
    norms = torch.linalg.vector_norm(visible, dim=-1)
    shares = total.log_softmax(-1)
    largest, first = shares.amax(-1).exp(), shares[..., 0].exp()
    entropy = -shares.exp().mul_(shares).sum(-1)
    keys = keys.expand_as(entropy)
    rows = torch.stack(
        (
            (entropy / keys.log()).clamp(0.0, 1.0),
            (largest > ONE_PLACE_FROM).to(entropy.dtype),
            (first > FIRST_FROM).to(entropy.dtype),
            keys,
        ),
        1,
    )
    finite = norms.isfinite() & entropy.isfinite()
    counts = (finite & (keys >= _ALONE)).unsqueeze(1).expand_as(rows)
    result = _partials(rows, counts)
    wide = result.dtype
    squares = result.new_zeros(*norms.shape[:2], WIDTH)
    squares[..., COUNT] = keys.masked_fill(~finite, 0.0).sum(-1, dtype=wide)
    sums = norms.to(wide).masked_fill_(~finite, 0.0).square_().sum(-1)
    squares[..., MEAN] = sums / squares[..., COUNT].clamp_min(1)
    largest_magnitudes = torch.maximum(high, -low)
    squares[..., LOW] = largest_magnitudes.masked_fill(~finite, torch.inf).amin(-1)
    squares[..., HIGH] = largest_magnitudes.masked_fill(~finite, -torch.inf).amax(-1)
    squares[..., NONFINITE] = (~finite).sum(-1).to(wide)
    return torch.cat((squares.unsqueeze(1), result), 1)


def _partials(x: Tensor, kept: Tensor) -> Tensor:
    """Return the partial rows ``[..., WIDTH]`` of the elements of ``x``, ``[..., n]``, that are kept."""
    wide = wide_dtype(x.device)
    result = torch.zeros(*x.shape[:-1], WIDTH, dtype=wide, device=x.device)
    count = kept.sum(-1).to(wide)
    known = x.to(wide).masked_fill_(~kept, 0.0)
    mean = known.sum(-1) / count.clamp_min(1)
    apart = (known - mean.unsqueeze(-1)).masked_fill_(~kept, 0.0)
    result[..., COUNT], result[..., MEAN] = count, mean
    result[..., M2] = apart.square_().sum(-1)
    result[..., LOW] = x.masked_fill(~kept, torch.inf).amin(-1)
    result[..., HIGH] = x.masked_fill(~kept, -torch.inf).amax(-1)
    return result
