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

LOGITS, ENTROPY, ONE_PLACE, FIRST, KEYS = range(5)
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


class Looks(NamedTuple):
    """A few rows of an attention.

    Attributes:
        logits: ``[H, N, S]``, q·k times the scale, before any mask or bias; float32 or float64.
        added: ``[H or 1, N, S]``, what is added to them: a bias, and -inf for a key that the row may not see; ``None`` if nothing is.
    """

    logits: Tensor
    added: Tensor | None = None


def attention_partials(looks: Looks) -> Tensor:
    """Return partial rows ``[KINDS · H, WIDTH]``: those of all heads' logits first, then of their entropies, and so on.

    Of a head: its visible logits; the entropy of its rows over ln T, where T is how many keys a row sees; 1 for a row with
    more than :data:`ONE_PLACE_FROM` on one key; 1 for a row with more than :data:`FIRST_FROM` on the first key; T. A row that
    sees fewer than two keys has no choice and does not count. Logits that are not finite are counted and left out, and so
    are their rows.
    """
    logits, added = looks
    if added is None:
        seen, total = torch.ones_like(logits, dtype=torch.bool), logits
    else:
        top = added.amax(-1, keepdim=True)
        # -inf - -inf is NaN, which is not above: a row that sees nothing.
        seen = (added - top > HIDES).expand_as(logits)
        total = (logits + added).masked_fill(~seen, -torch.inf)
    keys = seen.sum(-1)
    shifted = total - total.amax(-1, keepdim=True)
    exponents = shifted.exp()
    sums = exponents.sum(-1, keepdim=True)
    weights = exponents / sums
    entropy = sums.squeeze(-1).log() - (weights * shifted.masked_fill(~seen, 0.0)).sum(-1)
    # A row with a logit that is not finite has weights that are NaN.
    counts = (keys >= _ALONE) & entropy.isfinite()
    rows = torch.stack(
        (
            (entropy / keys.to(entropy.dtype).log()).clamp(0.0, 1.0),
            (weights.amax(-1) > ONE_PLACE_FROM).to(entropy.dtype),
            (weights[..., 0] > FIRST_FROM).to(entropy.dtype),
            keys.to(entropy.dtype),
        )
    )
    finite = logits.isfinite()
    return torch.cat(
        (
            _partials(logits.flatten(1), (seen & finite).flatten(1), (seen & ~finite).flatten(1)),
            _partials(rows.flatten(0, 1), counts.expand_as(rows).flatten(0, 1), None),
        )
    )


def _partials(x: Tensor, kept: Tensor, odd: Tensor | None) -> Tensor:
    """Return the partial rows ``[G, WIDTH]`` of the elements of ``x``, ``[G, n]``, that are kept."""
    wide = wide_dtype(x.device)
    result = torch.zeros(len(x), WIDTH, dtype=wide, device=x.device)
    count = kept.sum(-1).to(wide)
    mean = x.masked_fill(~kept, 0.0).sum(-1, dtype=wide) / count.clamp_min(1)
    apart = (x - mean.to(x.dtype).unsqueeze(-1)).masked_fill(~kept, 0.0)
    result[:, COUNT], result[:, MEAN] = count, mean
    result[:, M2] = (apart * apart).sum(-1, dtype=wide)
    result[:, LOW] = x.masked_fill(~kept, torch.inf).amin(-1)
    result[:, HIGH] = x.masked_fill(~kept, -torch.inf).amax(-1)
    if odd is not None:
        result[:, NONFINITE] = odd.sum(-1).to(wide)
    return result
