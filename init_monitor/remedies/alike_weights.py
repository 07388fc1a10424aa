"""The remedy for layers that began with weights of one number, zeros above all, one behind the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.remedies import snippets
from init_monitor.remedies.raw_tables import faint_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import History, Layer

SENTENCE = "Initialise these layers with random weights, before training; zeros are for biases and for the last layer of a residual branch."


def all_alike(layers: Sequence[Layer], history: History) -> str:
    """Return what to do about layers that began with weights of one number, sentence and code.

    Args:
        layers: those to draw anew.
        history: what was judged.
    """
    tables = faint_tables(history)
    code = snippets.together(snippets.initialise(layers, among=history.structure), tables.code)
    return snippets.advice(SENTENCE + tables.sentence, code)
