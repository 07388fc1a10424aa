"""What brings more with it: faults of the signal, and steps that are far too large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.analysis import paths

if TYPE_CHECKING:
    from init_monitor.records import Finding, Structure

STEPS = "IM603"
"""The code of steps of the wrong size."""

SIGNAL = (
    "IM101", "IM102", "IM201", "IM202", "IM301", "IM302", "IM303", "IM304", "IM401", "IM501", "IM502", STEPS, "IM701", "IM702",
)  # fmt: skip
"""What is wrong with the signal, from which more of the same kind follows."""

FADES, GRADIENT_FADES, DEAD, TOTAL = "IM102", "IM202", "IM301", "total_growth"
"""Codes of a signal and a gradient that fade, and their evidence, which is 0 where they stop; and of what may have stopped them."""

MOST = 0.5
"""Share of the layers of a finding that its cause has to reach: more than what another cause may explain."""


def too_large(cause: Finding) -> bool:
    """Say whether a finding is about steps so large that they replace what the network was, or that grow without end."""
    ratio = "update_ratio"
    over = cause.evidence.get(ratio, 0.0) > cause.expected.get(ratio, 0.0)
    return cause.code == STEPS and bool(over or {"growth", "gradient_growth"} & set(cause.evidence))


def places_of(cause: Finding, structure: Structure) -> frozenset[str]:
    """Return the layers that a finding names; for a residual addition, those of its block."""
    inside = (layer for one in structure.residuals if one.name in cause.layers for layer in one.layers)
    return frozenset((*cause.layers, *inside))


def reaches(finding: Finding, cause: Finding, structure: Structure) -> bool:
    """Say whether a cause lies on one path with most of the layers of a finding."""
    if cause.code == STEPS:
        return too_large(cause)
    stops = cause.code in {FADES, GRADIENT_FADES} and not cause.evidence.get(TOTAL, 0.0) > 0
    if stops and (cause.code == GRADIENT_FADES or finding.code == DEAD):
        return False  # what ends at one place says where, and something else says why
    if not cause.layers or not finding.layers:
        return not cause.layers
    named = places_of(cause, structure)
    reached = paths.behind(named, structure) | paths.before(named, structure)
    known = reached | named
    return sum(name in known for name in finding.layers) >= MOST * len(finding.layers)
