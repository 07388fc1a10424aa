"""What of a model is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Scope(NamedTuple):
    """What to measure of a model.

    Attributes:
        include, exclude, max_layers: see :func:`init_monitor.structure.layers.select`.
        exact: all elements of every tensor, or a strided sample of each (``measure="staged"``).
        window, every_n_steps: the longest look-back of the unit categories, in sampled steps; how often a step is one.
    """

    include: str | Sequence[str] | None = None
    exclude: str | Sequence[str] | None = None
    max_layers: int = 512
    exact: bool = True
    window: int = 256
    every_n_steps: int = 50
