"""The rows of residual additions: their cells, and how the stream grows from block to block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from init_monitor.display.cells import number_cells
from init_monitor.display.formatting import compact
from init_monitor.records import Of
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records import Residual, StepRecord, Structure

RESIDUAL_WORDS = ("residual", "kind")
"""Columns before those of the quantities; in their headers x is the skip and F the branch."""

_GREATEST_DECADE = 300
"""Powers of ten up to here are computed as a float, which ends at 1.8e308."""


@dataclass(frozen=True, slots=True)
class StreamGrowth:
    """How a signal's variance grows along the stream of residual sums.

    Attributes:
        blocks: residual blocks of the stream whose growth was measured.
        log10_per_block: log10 of their geometric mean growth, Var(sum)/Var(x).
        run: names of the longest run of them that no normalisation and no other layer interrupts; empty where the
            structure is unknown.
        log10_of_run: log10 of the product of their growth.
    """

    blocks: int
    log10_per_block: float
    run: tuple[str, ...]
    log10_of_run: float

    def __str__(self) -> str:
        """Return the growth as a sentence."""
        sentence = f"Growth per block: {_power(self.log10_per_block)}× (geometric mean"
        sentence += f" of {self.blocks} block{'' if self.blocks == 1 else 's'})"
        if self.blocks == 1 or not self.run:
            return sentence
        total = _power(self.log10_of_run)
        if len(self.run) == self.blocks:
            return f"{sentence}, {total}× after all of them"
        if len(self.run) == 1:
            return f"{sentence}; each is followed by a normalisation or another layer, so it does not build up"
        return f"{sentence}, {total}× over the longest unbroken stream: {len(self.run)} blocks up to {self.run[-1]}"


def residual_cells(record: StepRecord, structure: Structure) -> list[dict[str, str]]:
    """Return one dict per residual addition, in execution order, keyed by header."""
    known = {residual.name: residual for residual in structure.residuals}
    return [
        {"residual": name, "kind": kind_word(known.get(name)), **numbers}
        for name, numbers in zip(record.residual_names, number_cells(record, Of.RESIDUAL), strict=True)
    ]


def kind_word(residual: Residual | None) -> str:
    """Return the kind; for an addition outside the main stream, why it is outside."""
    if residual is None:
        return ""
    return " ".join(word for word in ("nested", "long") if getattr(residual, word)) or residual.kind


def is_aside(residual: Residual | None) -> bool:
    """Say whether an addition lies outside the main stream: inside a branch, or over other additions."""
    return residual is not None and (residual.nested or residual.long)


def stream_growth(record: StepRecord, structure: Structure) -> StreamGrowth | None:
    """Return how the stream grows at this step, ``None`` if no block of it was measured."""
    known = {residual.name: residual for residual in structure.residuals}
    growths = zip(record.residual_names, record.column(Quantity.RESIDUAL_GROWTH).tolist(), strict=True)
    logs = {
        name: math.log10(growth) for name, growth in growths if 0 < growth < math.inf and not is_aside(known.get(name))
    }
    if not logs:
        return None
    runs: dict[str, tuple[str, ...]] = {}
    for name in logs:
        if name in known:
            before = known[name].follows
            runs[name] = (*(runs[before] if before in runs and not known[before].normalised else ()), name)
    longest = max(runs.values(), key=len, default=())
    return StreamGrowth(len(logs), sum(logs.values()) / len(logs), longest, sum(logs[name] for name in longest))


def _power(log10: float) -> str:
    return compact(10**log10) if abs(log10) < _GREATEST_DECADE else f"1e{log10:.0f}"
