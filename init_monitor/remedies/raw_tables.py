"""Tables that belong to no layer (learned positions, tokens, queries) and that began with nothing in them, as the layers beside them.

A loop over all parameters that spoils the weights of a transformer's layers spoils its positions, too; layers drawn anew then cannot
tell one place from another.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.analysis.initialiser_choice import choice_for
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases, snippets
from init_monitor.remedies.addressing import expression
from init_monitor.remedies.affected_layers import FAINT, carried_on

if TYPE_CHECKING:
    from init_monitor.records import History, Structure

LEAST = 2
"""Vectors of the stream's width from which a parameter is a table: one alone may be a factor per channel, which may start at 0."""


class Tables(NamedTuple):
    """What to say and do about such tables; both empty where there are none."""

    sentence: str = ""
    code: str = ""


def faint_tables(history: History) -> Tables:
    """Return the sentence and the code that draw the tables anew: as large as what they are added to.

    A parameter that multiplies (a raw matrix) is a layer's; of what belongs to none, a table of a transformer has whole vectors of
    the width of its stream. Not in a resumed run, whose first weights are not the initial ones.
    """
    first, structure = history.records[0], history.structure
    width, size = _stream(structure)
    if first.step > 0 or not width or not size > 0:
        return Tables()
    owned = {name for layer in structure.layers for name in (layer.weight, layer.bias, *layer.parameters)}
    at = first.parameter_table.at
    found = []
    for name in first.parameter_names:
        vectors, rest = divmod(at(name, Quantity.WEIGHT_COUNT), width)
        square = at(name, Quantity.WEIGHT_MEAN) ** 2 + at(name, Quantity.WEIGHT_VARIANCE)
        if (
            name not in owned
            and at(name, Quantity.TRAINABLE) == 1
            and vectors >= LEAST
            and not rest
            and square < FAINT**2
        ):
            found.append(name)
    if not found:
        return Tables()
    sentence = (
        f" {phrases.names(found)} {'belongs' if len(found) == 1 else 'belong'} to no layer and"
        f" {'begins' if len(found) == 1 else 'begin'} with next to nothing: a table (of positions, of tokens) should be about as large as"
        " what it is added to."
    )
    lines = [f"nn.init.normal_({_parameter(name)}, std={size:.4g})" for name in found]
    return Tables(sentence, "\n".join([snippets.HEAD.rstrip("\n"), "", *lines]))


def _stream(structure: Structure) -> tuple[int, float]:
    """Return how many units the stream of a transformer has, and the standard deviation of what it starts from; zeros if not known."""
    reading = [x for x in structure.layers if x.transformer and x.forward_terms]
    starting = [x for x in structure.layers if x.name in carried_on(structure) and x.role is Role.WEIGHT and x.weight]
    if not structure.residuals or not reading or not starting:
        return 0, math.nan
    start = starting[0]
    variance = choice_for(start, structure).variance
    terms = 1.0 if start.is_embedding else start.forward_terms or float(start.fan_in)
    return int(reading[0].forward_terms), math.sqrt(variance * terms) if variance > 0 else math.nan


def _parameter(name: str) -> str:
    """Return the Python expression for a parameter of ``model``.

    >>> _parameter("net.positions"), _parameter("blocks.3.queries")
    ('model.net.positions', 'model.blocks[3].queries')
    """
    module, _, own = name.rpartition(".")
    return f"{expression(module)}.{own}"
