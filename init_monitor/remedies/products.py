"""What to say and do where a stream is multiplied by its branches, x · F(x), in the place of x + F(x)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.records import Figure, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases

if TYPE_CHECKING:
    from init_monitor.records import Finding, History, Layer, StepRecord, Structure

OF_SIZE = frozenset({"IM101", "IM102", "IM201", "IM202", "IM302", "IM502", "IM702", "IM703"})
"""Codes of a signal or a gradient whose size a product changes at every block."""

LEAST = 3
"""Products in a row from which they are a stream: the signal is then of the degree 2 · 2 · 2 = 8 in its input. One or two are an
interaction of features (a factorisation machine, a cross network)."""

FAR = 100.0
"""Factor of the mean square, from behind the first product to behind the last, from which they are what changes its size: ten times
in rms, or a tenth of it."""

MULTIPLIED = "products"
"""Evidence of such a finding alone: how many of them lie in a row."""


def with_products(finding: Finding, history: History) -> Finding:
    """Return the finding with the products as its cause and their sums as its remedy; as it is where they are none."""
    if finding.severity is Severity.INFO or finding.code not in OF_SIZE:
        return finding
    first, last = _ends(history.structure)
    if first is None or last is None:
        return finding
    now, before = (_received(layer, history.records[0]) for layer in (last, first))
    change = now / before if before > 0 else math.nan
    if not (change >= FAR or change <= 1 / FAR):
        return finding
    way = "grows" if change > 1 else "fades"
    message, _, rest = finding.message.partition(" No weight does that so exactly: an operation between the two does.")
    return replace(
        finding,
        message=(
            f"{message}{rest} The forward multiplies x by its branch, x · F(x), {last.products} times in a row, where x + F(x) is usual: the"
            f" size of each block is that of the one before times that of F(x), so it {way} ever faster with depth. The mean"
            f" square is {phrases.number(before)} at {first.name} and {phrases.number(now)} at {last.name}. The initial weights are not the cause."
        ),
        evidence={**finding.evidence, MULTIPLIED: Figure(last.products, "products x · F(x) in a row")},
        expected={**finding.expected, MULTIPLIED: Figure(0.0, "in a row")},
        remedy=(
            f"Add in the place of multiplying: x + F(x), in the forward between {first.name} and {last.name}. If it is to be a gate, bound"
            " it: x · sigmoid(F(x)), or x · (1 + F(x)) with an F that starts at 0; or normalise each product. A new initialisation"
            " does not keep the size of a product of so many."
        ),
    )


def _ends(structure: Structure) -> tuple[Layer | None, Layer | None]:
    """Return the first layer and the last behind the longest row of products; ``None`` where it is shorter than a stream."""
    last = max(structure.layers, key=lambda layer: layer.products, default=None)
    if last is None or last.products < LEAST:
        return None, None
    return next((layer for layer in structure.layers if layer.products == 1), None), last


def _received(layer: Layer, record: StepRecord) -> float:
    return record.layer_table.at(layer.name, Quantity.INPUT_MEAN_SQUARE)
