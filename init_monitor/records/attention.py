"""An attention of the network."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attention:
    """One attention of the network: a softmax over what queries and keys make, that weighs values.

    Attributes:
        name: path of the module whose forward computes it; ``#k`` for the k-th of several there, ``@c`` in its c-th call.
        owner: that path; empty for the model itself.
        heads: how many heads it has; 1 where they cannot be told from the batch.
        head_dim: elements of a query of one head.
        function: what computes it: ``scaled_dot_product_attention``, ``multi_head_attention_forward``, or ``softmax`` where it
            is written out.
        inputs: names of the layers that made its queries and keys.
        scale: what q·k is multiplied by, factors of the queries and keys themselves included; NaN if it is a tensor, or not known.
        normalised: its queries were normalised (QK-norm).
    """

    name: str
    owner: str = ""
    heads: int = 1
    head_dim: int = 0
    function: str = ""
    inputs: tuple[str, ...] = ()
    scale: float = math.nan
    normalised: bool = False

    @property
    def head_names(self) -> tuple[str, ...]:
        """Names of its heads, as in the table of heads.

        >>> Attention("blocks.0.attn", heads=2).head_names
        ('blocks.0.attn[0]', 'blocks.0.attn[1]')
        """
        return tuple(f"{self.name}[{head}]" for head in range(self.heads))
