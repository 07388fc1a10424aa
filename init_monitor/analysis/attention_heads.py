"""Attention at one record: what its heads did, and what made its logits as large as they are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from init_monitor.records import Role
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import Attention, Layer, StepRecord, Structure

IN_MODULE = "multi_head_attention_forward"
"""The function of ``nn.MultiheadAttention``, whose weights make its queries and keys."""


class Heads(NamedTuple):
    """One attention at one record; NaN where it was not measured.

    Attributes:
        attention: which.
        rms: root mean square of its logits over all heads.
        largest: largest logit of any head.
        entropy, one_place: mean over heads of their entropy, and of the share of rows that look at one place.
        keys: keys that a row sees.
    """

    attention: Attention
    rms: float
    largest: float
    entropy: float
    one_place: float
    keys: float


def heads_at(record: StepRecord, structure: Structure) -> dict[str, Heads]:
    """Return every attention of a network at a record, by its name."""
    table, found = record.head_table, {}
    columns = [
        table.column(one)
        for one in (
            Quantity.ATTENTION_LOGIT_RMS,
            Quantity.ATTENTION_LOGIT_MAX,
            Quantity.ATTENTION_ENTROPY,
            Quantity.ATTENTION_ONE_PLACE,
            Quantity.ATTENTION_KEYS,
        )
    ]
    for attention in structure.attentions:
        rows = [table.index[name] for name in attention.head_names if name in table.index]
        if not rows:
            continue
        rms, largest, entropy, one_place, keys = (column[rows] for column in columns)
        with np.errstate(over="ignore", invalid="ignore"):
            square = float(np.mean(np.square(rms)))
        found[attention.name] = Heads(
            attention,
            math.sqrt(square),
            float(np.max(largest)),
            float(np.mean(np.clip(entropy, 0, 1))),
            float(np.mean(np.clip(one_place, 0, 1))),
            float(np.mean(keys)),
        )
    return found


def makers_of(attention: Attention, structure: Structure) -> list[Layer]:
    """Return the layers that made the queries and keys of an attention."""
    known = structure.by_name()
    return [known[name] for name in attention.inputs if name in known]


def made_by_weights(attention: Attention, record: StepRecord, structure: Structure) -> float:
    """Return the rms of logits that queries and keys as they were made give with a scale of 1/√d; NaN if not known.

    Of independent elements it is the product of their rms: Var(q·k / √d) = E[q²] E[k²] (Vaswani et al. 2017, 3.2.1). Queries that
    are normalised have an rms of 1.
    """
    if attention.normalised:
        return 1.0
    makers = makers_of(attention, structure)
    if attention.function == IN_MODULE or not makers:
        return math.nan
    squares = [record.layer_table.at(layer.name, Quantity.MEAN_SQUARE) for layer in makers]
    if not all(0 < one < math.inf for one in squares):
        return math.nan
    return math.exp(sum(map(math.log, squares)) / len(squares))


def initialised(attention: Attention, structure: Structure) -> list[Layer]:
    """Return the layers whose weights make the queries and keys: those that can be initialised anew."""
    return [layer for layer in makers_of(attention, structure) if layer.role is not Role.NORMALISATION]
